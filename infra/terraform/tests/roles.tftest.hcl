mock_provider "aws" {
  source = "./tests/mocks"
}

override_data {
  target = data.aws_iam_policy_document.publisher
  values = { json = "{\"Id\": \"publisher\"}" }
}

override_data {
  target = data.aws_iam_policy_document.databricks
  values = { json = "{\"Id\": \"databricks\"}" }
}

override_data {
  target = data.aws_iam_policy_document.scheduler
  values = { json = "{\"Id\": \"scheduler\"}" }
}

override_data {
  target = data.aws_iam_policy_document.execution
  values = { json = "{\"Id\": \"execution\"}" }
}

override_resource {
  target = aws_iam_role.publisher
  values = { arn = "arn:aws:iam::123456789012:role/publisher" }
}

override_resource {
  target = aws_iam_role.execution["publication"]
  values = { arn = "arn:aws:iam::123456789012:role/publication-execution" }
}

override_resource {
  target = aws_secretsmanager_secret.role["loader"]
  values = { arn = "arn:aws:secretsmanager:sa-east-1:123456789012:secret:loader" }
}

override_resource {
  target = aws_secretsmanager_secret.role["bi_reader"]
  values = { arn = "arn:aws:secretsmanager:sa-east-1:123456789012:secret:bi_reader" }
}

run "each_role_may_do_what_its_part_needs" {
  assert {
    condition     = jsondecode(aws_iam_role_policy.publisher.policy).Id == "publisher" && aws_iam_role_policy.publisher.role == "capstone-test-publisher"
    error_message = "The publisher has another policy."
  }

  assert {
    condition = { for statement in data.aws_iam_policy_document.publisher.statement : statement.sid => [statement.actions, statement.resources] } == {
      Names   = [toset(["s3:ListBucket"]), toset(["arn:aws:s3:::capstone-test-lake-123456789012"])]
      Gold    = [toset(["s3:GetObject"]), toset(["arn:aws:s3:::capstone-test-lake-123456789012/lakes/test/gold/*"])]
      Records = [toset(["s3:DeleteObject", "s3:GetObject", "s3:PutObject"]), toset(["arn:aws:s3:::capstone-test-lake-123456789012/lakes/test/operations/*"])]
      Probe   = [toset(["s3:PutObject"]), toset(["arn:aws:s3:::capstone-test-lake-123456789012/lakes/test/_tmp/conditional-writes"])]
      Login   = [toset(["secretsmanager:GetSecretValue"]), toset(["arn:aws:secretsmanager:sa-east-1:123456789012:secret:loader"])]
    }
    error_message = "The publisher may do more or less than read Gold, write the records of runs and log in."
  }

  assert {
    condition     = jsondecode(aws_iam_role_policy.databricks.policy).Id == "databricks" && aws_iam_instance_profile.databricks.role == "capstone-test-databricks"
    error_message = "The clusters have another policy."
  }

  assert {
    condition = { for statement in data.aws_iam_policy_document.databricks.statement : statement.sid => [statement.actions, statement.resources] } == {
      Names = [toset(["s3:ListBucket"]), toset(["arn:aws:s3:::capstone-test-lake-123456789012"])]
      Lake = [
        toset(["s3:DeleteObject", "s3:GetObject", "s3:PutObject"]),
        toset([for layer in ["bronze", "silver", "gold", "operations", "_tmp"] : "arn:aws:s3:::capstone-test-lake-123456789012/lakes/test/${layer}/*"]),
      ]
    }
    error_message = "The clusters may do more or less than read and write the layers of the lake."
  }

  assert {
    condition     = one(one(data.aws_iam_policy_document.instances.statement).principals).identifiers == toset(["ec2.amazonaws.com"])
    error_message = "Others than EC2 instances can assume the role of the clusters."
  }

  assert {
    condition     = alltrue([for policy in aws_iam_role_policy.execution : jsondecode(policy.policy).Id == "execution"])
    error_message = "The execution roles have another policy."
  }

  assert {
    condition = one(data.aws_iam_policy_document.passwords.statement).resources == toset([
      "arn:aws:secretsmanager:sa-east-1:123456789012:secret:master",
      "arn:aws:secretsmanager:sa-east-1:123456789012:secret:loader",
      "arn:aws:secretsmanager:sa-east-1:123456789012:secret:bi_reader",
    ]) && aws_iam_role_policy.passwords.role == "capstone-test-administration-execution"
    error_message = "The publication starts with passwords of others, or the administration without its own."
  }

  assert {
    condition = alltrue([for document in data.aws_iam_policy_document.execution : { for statement in document.statement : statement.sid => statement.actions } == {
      Registry = toset(["ecr:GetAuthorizationToken"])
      Image    = toset(["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"])
      Log      = toset(["logs:CreateLogStream", "logs:PutLogEvents"])
    }])
    error_message = "The execution roles may do more or less than start a task."
  }

  assert {
    condition = alltrue(flatten([for document in data.aws_iam_policy_document.execution : [for statement in document.statement :
      (statement.sid == "Registry") == contains(statement.resources, "*")
    ]]))
    error_message = "A statement has a bare * as its resource, other than for the ECR action that supports none."
  }

  assert {
    condition     = jsondecode(aws_iam_role_policy.scheduler.policy).Id == "scheduler" && aws_iam_role_policy.scheduler.role == "capstone-test-scheduler"
    error_message = "The scheduler has another policy."
  }

  assert {
    condition = { for statement in data.aws_iam_policy_document.scheduler.statement : statement.sid => [statement.actions, statement.resources] } == {
      Start  = [toset(["ecs:RunTask"]), toset(["arn:aws:ecs:sa-east-1:123456789012:task-definition/capstone-test-publication:*"])]
      Tag    = [toset(["ecs:TagResource"]), toset(["arn:aws:ecs:sa-east-1:123456789012:task/capstone-test/*"])]
      Roles  = [toset(["iam:PassRole"]), toset(["arn:aws:iam::123456789012:role/publisher", "arn:aws:iam::123456789012:role/publication-execution"])]
      Missed = [toset(["sqs:SendMessage"]), toset(["arn:aws:sqs:sa-east-1:123456789012:capstone-test-missed-publications"])]
    }
    error_message = "The scheduler may do more or less than start the publication and queue missed starts."
  }

  assert {
    condition = { for statement in data.aws_iam_policy_document.scheduler.statement : statement.sid => { for each in statement.condition : each.variable => one(each.values) } if length(statement.condition) > 0 } == {
      Start = { "ecs:cluster" = "arn:aws:ecs:sa-east-1:123456789012:cluster/capstone-test" }
      Tag   = { "ecs:CreateAction" = "RunTask" }
      Roles = { "iam:PassedToService" = "ecs-tasks.amazonaws.com" }
    }
    error_message = "The scheduler may start tasks elsewhere, or pass its roles to another service."
  }

  assert {
    condition = { for name, document in data.aws_iam_policy_document.assumed : name => [
      one(one(document.statement).principals).identifiers, one(one(document.statement).condition).variable, one(one(one(document.statement).condition).values),
      ] } == {
      tasks     = [toset(["ecs-tasks.amazonaws.com"]), "aws:SourceAccount", "123456789012"]
      scheduler = [toset(["scheduler.amazonaws.com"]), "aws:SourceAccount", "123456789012"]
    }
    error_message = "Another service, or the service on behalf of another account, can assume a role."
  }
}
