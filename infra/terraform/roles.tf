# Roles and permissions. No statement allows an action or a resource by a bare *, except for the one
# ECR action that supports no resource.

data "aws_iam_policy_document" "assumed" {
  for_each = {
    tasks     = "ecs-tasks.amazonaws.com"
    scheduler = "scheduler.amazonaws.com"
  }

  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = [each.value]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [var.account_id]
    }
  }
}

# The publisher: it reads Gold, writes the records of runs, and reads its credentials. Only this file
# defines its permissions; the tests publish with exactly these.

resource "aws_iam_role" "publisher" {
  name               = "${local.name}-publisher"
  assume_role_policy = data.aws_iam_policy_document.assumed["tasks"].json
}

resource "aws_iam_role_policy" "publisher" {
  name   = "lake"
  role   = aws_iam_role.publisher.name
  policy = data.aws_iam_policy_document.publisher.json
}

data "aws_iam_policy_document" "publisher" {
  # names only; without it, S3 reports a missing object as forbidden
  statement {
    sid       = "Names"
    actions   = ["s3:ListBucket"]
    resources = [aws_s3_bucket.lake.arn]
  }

  statement {
    sid       = "Gold"
    actions   = ["s3:GetObject"]
    resources = ["${local.lake}/gold/*"]
  }

  statement {
    sid       = "Records"
    actions   = ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"]
    resources = ["${local.lake}/operations/*"]
  }

  # an empty object, with which a run tests whether the store honours conditional writes
  statement {
    sid       = "Probe"
    actions   = ["s3:PutObject"]
    resources = ["${local.lake}/_tmp/conditional-writes"]
  }

  statement {
    sid       = "Login"
    actions   = ["secretsmanager:GetSecretValue"]
    resources = [aws_secretsmanager_secret.role["loader"].arn]
  }
}

# Fargate, before a task starts: its image, its log.

resource "aws_iam_role" "execution" {
  for_each = toset(["publication", "administration"])

  name               = "${local.name}-${each.key}-execution"
  assume_role_policy = data.aws_iam_policy_document.assumed["tasks"].json
}

resource "aws_iam_role_policy" "execution" {
  for_each = aws_iam_role.execution

  name   = "start"
  role   = each.value.name
  policy = data.aws_iam_policy_document.execution[each.key].json
}

data "aws_iam_policy_document" "execution" {
  #checkov:skip=CKV_AWS_356:ecr:GetAuthorizationToken supports no resource
  for_each = toset(["publication", "administration"])

  statement {
    sid       = "Registry"
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"]
  }

  statement {
    sid       = "Image"
    actions   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    resources = [aws_ecr_repository.publisher.arn]
  }

  statement {
    sid       = "Log"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.tasks.arn}:*"]
  }
}

# the administration task also needs the passwords; the publication reads its own when it connects
resource "aws_iam_role_policy" "passwords" {
  name   = "passwords"
  role   = aws_iam_role.execution["administration"].name
  policy = data.aws_iam_policy_document.passwords.json
}

data "aws_iam_policy_document" "passwords" {
  statement {
    actions = ["secretsmanager:GetSecretValue"]
    resources = [
      local.master_secret,
      aws_secretsmanager_secret.role["loader"].arn,
      aws_secretsmanager_secret.role["bi_reader"].arn,
    ]
  }
}

# The scheduler: it starts the publication, and queues the starts that failed.

resource "aws_iam_role" "scheduler" {
  name               = "${local.name}-scheduler"
  assume_role_policy = data.aws_iam_policy_document.assumed["scheduler"].json
}

resource "aws_iam_role_policy" "scheduler" {
  name   = "publish"
  role   = aws_iam_role.scheduler.name
  policy = data.aws_iam_policy_document.scheduler.json
}

data "aws_iam_policy_document" "scheduler" {
  statement {
    sid       = "Start"
    actions   = ["ecs:RunTask"]
    resources = ["${local.arn}:ecs:${var.region}:${var.account_id}:task-definition/${local.name}-publication:*"]

    condition {
      test     = "ArnEquals"
      variable = "ecs:cluster"
      values   = [aws_ecs_cluster.this.arn]
    }
  }

  statement {
    sid       = "Tag"
    actions   = ["ecs:TagResource"]
    resources = ["${local.arn}:ecs:${var.region}:${var.account_id}:task/${local.name}/*"]

    condition {
      test     = "StringEquals"
      variable = "ecs:CreateAction"
      values   = ["RunTask"]
    }
  }

  statement {
    sid       = "Roles"
    actions   = ["iam:PassRole"]
    resources = [aws_iam_role.publisher.arn, aws_iam_role.execution["publication"].arn]

    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["ecs-tasks.amazonaws.com"]
    }
  }

  statement {
    sid       = "Missed"
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.missed.arn]
  }
}

# The Databricks clusters: they read and write the lake.

resource "aws_iam_role" "databricks" {
  name               = "${local.name}-databricks"
  assume_role_policy = data.aws_iam_policy_document.instances.json
}

resource "aws_iam_instance_profile" "databricks" {
  name = "${local.name}-databricks"
  role = aws_iam_role.databricks.name
}

data "aws_iam_policy_document" "instances" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ec2.amazonaws.com"]
    }
  }
}

resource "aws_iam_role_policy" "databricks" {
  name   = "lake"
  role   = aws_iam_role.databricks.name
  policy = data.aws_iam_policy_document.databricks.json
}

data "aws_iam_policy_document" "databricks" {
  statement {
    sid       = "Names"
    actions   = ["s3:ListBucket"]
    resources = [aws_s3_bucket.lake.arn]
  }

  statement {
    sid     = "Lake"
    actions = ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"]
    resources = [
      "${local.lake}/bronze/*",
      "${local.lake}/silver/*",
      "${local.lake}/gold/*",
      "${local.lake}/operations/*",
      "${local.lake}/_tmp/*",
    ]
  }
}
