mock_provider "aws" {
  source = "./tests/mocks"
}

override_data {
  target = data.aws_iam_policy_document.github_reads
  values = { json = "{\"Id\": \"reads\"}" }
}

override_data {
  target = data.aws_iam_policy_document.github_applies
  values = { json = "{\"Id\": \"applies\"}" }
}

override_resource {
  target = aws_iam_role.scheduler
  values = { arn = "arn:aws:iam::123456789012:role/scheduler" }
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
  target = aws_iam_role.execution["administration"]
  values = { arn = "arn:aws:iam::123456789012:role/administration-execution" }
}

run "without_a_repository_github_may_do_nothing" {
  assert {
    condition     = length(aws_iam_openid_connect_provider.github) == 0 && length(aws_iam_role.github) == 0 && length(aws_iam_role_policy.github_reads) == 0 && length(aws_iam_role_policy.github_applies) == 0
    error_message = "AWS trusts a repository although none is configured."
  }
}

run "one_repository_is_trusted_in_two_environments" {
  variables {
    github_repository = "example@123/capstone-metrics@456"
  }

  assert {
    condition     = one(aws_iam_openid_connect_provider.github).url == "https://token.actions.githubusercontent.com" && one(aws_iam_openid_connect_provider.github).client_id_list == toset(["sts.amazonaws.com"])
    error_message = "Tokens of another issuer, or for another audience, are accepted."
  }

  assert {
    condition = { for role, document in data.aws_iam_policy_document.github_trust : role => {
      for each in one(document.statement).condition : each.variable => [each.test, one(each.values)]
      } } == {
      plan = {
        "token.actions.githubusercontent.com:aud" = ["StringEquals", "sts.amazonaws.com"]
        "token.actions.githubusercontent.com:sub" = ["StringEquals", "repo:example@123/capstone-metrics@456:environment:plan"]
      }
      apply = {
        "token.actions.githubusercontent.com:aud" = ["StringEquals", "sts.amazonaws.com"]
        "token.actions.githubusercontent.com:sub" = ["StringEquals", "repo:example@123/capstone-metrics@456:environment:production"]
      }
    }
    error_message = "Another repository, environment or audience can assume a role."
  }

  assert {
    condition = alltrue([for document in data.aws_iam_policy_document.github_trust :
      one(document.statement).actions == toset(["sts:AssumeRoleWithWebIdentity"]) &&
      one(one(document.statement).principals).type == "Federated" &&
      one(one(document.statement).principals).identifiers == toset(["arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com"])
    ])
    error_message = "A role can be assumed without a GitHub token."
  }

  assert {
    condition     = { for name, policy in aws_iam_role_policy.github_reads : policy.role => jsondecode(policy.policy).Id } == { "capstone-test-github-plan" = "reads", "capstone-test-github-apply" = "reads" }
    error_message = "A role has another read policy."
  }

  assert {
    condition     = { for name, policy in aws_iam_role_policy.github_applies : policy.role => jsondecode(policy.policy).Id } == { "capstone-test-github-apply" = "applies" }
    error_message = "The plan role may make changes, or the apply role may not."
  }

  assert {
    condition = { for statement in data.aws_iam_policy_document.github_applies.statement : statement.sid => statement.resources } == {
      State        = toset(["arn:aws:s3:::capstone-terraform-123456789012/capstone-metrics/test.tfstate"])
      Lock         = toset(["arn:aws:s3:::capstone-terraform-123456789012/capstone-metrics/test.tfstate.tflock"])
      Registry     = toset(["*"])
      Image        = toset(["arn:aws:ecr:sa-east-1:123456789012:repository/capstone-test/publisher"])
      Tasks        = toset(["*"])
      TagTasks     = toset(["arn:aws:ecs:sa-east-1:123456789012:task-definition/capstone-test-*"])
      Hours        = toset(["arn:aws:scheduler:sa-east-1:123456789012:schedule/capstone-test/*"])
      Alarms       = toset(["arn:aws:cloudwatch:sa-east-1:123456789012:alarm:capstone-test-*", "arn:aws:events:sa-east-1:123456789012:rule/capstone-test-*"])
      RolesOfTasks = toset([for role in ["publisher", "publication-execution", "administration-execution"] : "arn:aws:iam::123456789012:role/${role}"])
      RoleOfHours  = toset(["arn:aws:iam::123456789012:role/scheduler"])
    }
    error_message = "A deployment may change more than the resources of a version."
  }

  assert {
    condition = { for statement in data.aws_iam_policy_document.github_applies.statement : statement.sid => { for each in statement.condition : each.variable => one(each.values) } if length(statement.condition) > 0 } == {
      Tasks        = { "aws:RequestTag/project" = "capstone-metrics", "aws:RequestTag/environment" = "test" }
      TagTasks     = { "ecs:CreateAction" = "RegisterTaskDefinition" }
      RolesOfTasks = { "iam:PassedToService" = "ecs-tasks.amazonaws.com" }
      RoleOfHours  = { "iam:PassedToService" = "scheduler.amazonaws.com" }
    }
    error_message = "A deployment may pass a role to another service, or register tasks of others."
  }

  assert {
    condition     = keys(output.github_roles) == ["plan", "production"]
    error_message = "The output has a role of another environment."
  }
}

run "a_pattern_is_no_repository" {
  command = plan

  variables {
    github_repository = "example/*"
  }

  expect_failures = [var.github_repository]
}

run "nor_is_an_owner" {
  command = plan

  variables {
    github_repository = "example"
  }

  expect_failures = [var.github_repository]
}

run "nor_is_a_subject" {
  command = plan

  variables {
    github_repository = "example/capstone-metrics:pull_request"
  }

  expect_failures = [var.github_repository]
}
