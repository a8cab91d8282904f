# The permissions of the GitHub workflows: plan, and deploy an approved version. They have no key: AWS
# trusts the token of a single job, by the GitHub environment in which it runs. Without
# github_repository, none of these resources are created. GitHub itself cannot change them.

locals {
  # each role, and the environment of .github/workflows/deploy.yml that assumes it
  github_environments = { plan = "plan", apply = "production" }
  github              = var.github_repository == null ? {} : local.github_environments

  state = "${local.arn}:s3:::capstone-terraform-${var.account_id}"
  here  = "${var.region}:${var.account_id}"
}

# at most one per account
resource "aws_iam_openid_connect_provider" "github" {
  count = var.github_repository == null ? 0 : 1

  url            = "https://token.actions.githubusercontent.com"
  client_id_list = ["sts.amazonaws.com"]
}

resource "aws_iam_role" "github" {
  for_each = local.github

  name                 = "${local.name}-github-${each.key}"
  assume_role_policy   = data.aws_iam_policy_document.github_trust[each.key].json
  max_session_duration = 3600
}

data "aws_iam_policy_document" "github_trust" {
  for_each = local.github

  statement {
    actions = ["sts:AssumeRoleWithWebIdentity"]

    principals {
      type        = "Federated"
      identifiers = [aws_iam_openid_connect_provider.github[0].arn]
    }

    condition {
      test     = "StringEquals"
      variable = "token.actions.githubusercontent.com:aud"
      values   = ["sts.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "token.actions.githubusercontent.com:sub"
      values   = ["repo:${var.github_repository}:environment:${each.value}"]
    }
  }
}

# Both roles: read the existing resources, but no object of the lake and no password.

resource "aws_iam_role_policy" "github_reads" {
  for_each = aws_iam_role.github

  name   = "reads"
  role   = each.value.name
  policy = data.aws_iam_policy_document.github_reads.json
}

data "aws_iam_policy_document" "github_reads" {
  #checkov:skip=CKV_AWS_356:These read actions support no resource, or are called without a name
  statement {
    sid       = "StateNames"
    actions   = ["s3:ListBucket"]
    resources = [local.state]
  }

  statement {
    sid       = "State"
    actions   = ["s3:GetObject"]
    resources = ["${local.state}/capstone-metrics/${var.environment}.tfstate"]
  }

  statement {
    sid = "Account"
    actions = [
      "cloudwatch:DescribeAlarms",
      "ec2:DescribeNetworkAcls",
      "ec2:DescribeNetworkInterfaces",
      "ec2:DescribePrefixLists",
      "ec2:DescribeRouteTables",
      "ec2:DescribeSecurityGroupRules",
      "ec2:DescribeSecurityGroups",
      "ec2:DescribeSubnets",
      "ec2:DescribeVpcAttribute",
      "ec2:DescribeVpcEndpoints",
      "ec2:DescribeVpcs",
      "ecs:DescribeTaskDefinition",
      "logs:DescribeLogGroups",
      "logs:DescribeResourcePolicies",
      "rds:DescribeDBInstances",
      "sns:GetSubscriptionAttributes",
    ]
    resources = ["*"]
  }

  statement {
    sid = "Bucket"
    actions = [
      "s3:GetAccelerateConfiguration",
      "s3:GetBucketAcl",
      "s3:GetBucketCORS",
      "s3:GetBucketLocation",
      "s3:GetBucketLogging",
      "s3:GetBucketObjectLockConfiguration",
      "s3:GetBucketOwnershipControls",
      "s3:GetBucketPolicy",
      "s3:GetBucketPublicAccessBlock",
      "s3:GetBucketRequestPayment",
      "s3:GetBucketTagging",
      "s3:GetBucketVersioning",
      "s3:GetBucketWebsite",
      "s3:GetEncryptionConfiguration",
      "s3:GetLifecycleConfiguration",
      "s3:GetReplicationConfiguration",
      "s3:ListBucket",
    ]
    resources = [aws_s3_bucket.lake.arn]
  }

  statement {
    sid = "Database"
    actions = [
      "rds:DescribeDBParameterGroups",
      "rds:DescribeDBParameters",
      "rds:DescribeDBSubnetGroups",
      "rds:ListTagsForResource",
    ]
    resources = [
      "${local.arn}:rds:${local.here}:db:${local.name}-*",
      "${local.arn}:rds:${local.here}:pg:${local.name}-*",
      "${local.arn}:rds:${local.here}:subgrp:${local.name}-*",
    ]
  }

  statement {
    sid       = "PlacesOfPasswords"
    actions   = ["secretsmanager:DescribeSecret", "secretsmanager:GetResourcePolicy"]
    resources = ["${local.arn}:secretsmanager:${local.here}:secret:${local.name}/*"]
  }

  statement {
    sid       = "Registry"
    actions   = ["ecr:DescribeRepositories", "ecr:GetLifecyclePolicy", "ecr:ListTagsForResource"]
    resources = [aws_ecr_repository.publisher.arn]
  }

  statement {
    sid     = "Tasks"
    actions = ["ecs:DescribeClusters", "ecs:ListTagsForResource"]
    resources = [
      aws_ecs_cluster.this.arn,
      "${local.arn}:ecs:${local.here}:task-definition/${local.name}-*",
    ]
  }

  statement {
    sid     = "Hours"
    actions = ["scheduler:GetSchedule", "scheduler:GetScheduleGroup", "scheduler:ListTagsForResource"]
    resources = [
      "${local.arn}:scheduler:${local.here}:schedule-group/${local.name}",
      "${local.arn}:scheduler:${local.here}:schedule/${local.name}/*",
    ]
  }

  statement {
    sid = "Alarms"
    actions = [
      "budgets:ListTagsForResource",
      "budgets:ViewBudget",
      "cloudwatch:ListTagsForResource",
      "events:DescribeRule",
      "events:ListTagsForResource",
      "events:ListTargetsByRule",
      "logs:ListTagsForResource",
      "sns:GetTopicAttributes",
      "sns:ListTagsForResource",
      "sqs:GetQueueAttributes",
      "sqs:GetQueueUrl",
      "sqs:ListQueueTags",
    ]
    resources = [
      aws_sns_topic.alarms.arn,
      aws_sqs_queue.missed.arn,
      "${local.arn}:budgets::${var.account_id}:budget/${local.name}-*",
      "${local.arn}:cloudwatch:${local.here}:alarm:${local.name}-*",
      "${local.arn}:events:${local.here}:rule/${local.name}-*",
      "${local.arn}:logs:${local.here}:log-group:/${local.name}/*",
      "${local.arn}:logs:${local.here}:log-group:/aws/*/${local.name}-*",
    ]
  }

  statement {
    sid = "Roles"
    actions = [
      "iam:GetInstanceProfile",
      "iam:GetOpenIDConnectProvider",
      "iam:GetRole",
      "iam:GetRolePolicy",
      "iam:ListAttachedRolePolicies",
      "iam:ListRolePolicies",
    ]
    resources = [
      "${local.arn}:iam::${var.account_id}:instance-profile/${local.name}-*",
      "${local.arn}:iam::${var.account_id}:oidc-provider/token.actions.githubusercontent.com",
      "${local.arn}:iam::${var.account_id}:role/${local.name}-*",
    ]
  }
}

# The changes of a version: its image, the tasks that run it, their hours, and their alarms. The
# network, the database, the lake and all roles are changed by hand.

resource "aws_iam_role_policy" "github_applies" {
  for_each = { for name, role in aws_iam_role.github : name => role if name == "apply" }

  name   = "applies"
  role   = each.value.name
  policy = data.aws_iam_policy_document.github_applies.json
}

data "aws_iam_policy_document" "github_applies" {
  #checkov:skip=CKV_AWS_111:A task definition has no resource before it is registered; its tags and roles limit it
  #checkov:skip=CKV_AWS_356:ecr:GetAuthorizationToken and ecs:RegisterTaskDefinition support no resource
  statement {
    sid       = "State"
    actions   = ["s3:PutObject"]
    resources = ["${local.state}/capstone-metrics/${var.environment}.tfstate"]
  }

  statement {
    sid       = "Lock"
    actions   = ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"]
    resources = ["${local.state}/capstone-metrics/${var.environment}.tfstate.tflock"]
  }

  statement {
    sid       = "Registry"
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"]
  }

  # tags are immutable: an image can be added but not replaced
  statement {
    sid = "Image"
    actions = [
      "ecr:BatchCheckLayerAvailability",
      "ecr:BatchGetImage",
      "ecr:CompleteLayerUpload",
      "ecr:InitiateLayerUpload",
      "ecr:PutImage",
      "ecr:UploadLayerPart",
    ]
    resources = [aws_ecr_repository.publisher.arn]
  }

  statement {
    sid       = "Tasks"
    actions   = ["ecs:RegisterTaskDefinition"]
    resources = ["*"]

    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/project"
      values   = ["capstone-metrics"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/environment"
      values   = [var.environment]
    }
  }

  statement {
    sid       = "TagTasks"
    actions   = ["ecs:TagResource"]
    resources = ["${local.arn}:ecs:${local.here}:task-definition/${local.name}-*"]

    condition {
      test     = "StringEquals"
      variable = "ecs:CreateAction"
      values   = ["RegisterTaskDefinition"]
    }
  }

  statement {
    sid       = "Hours"
    actions   = ["scheduler:CreateSchedule", "scheduler:DeleteSchedule", "scheduler:UpdateSchedule"]
    resources = ["${local.arn}:scheduler:${local.here}:schedule/${local.name}/*"]
  }

  statement {
    sid = "Alarms"
    actions = [
      "cloudwatch:PutMetricAlarm",
      "cloudwatch:TagResource",
      "events:PutRule",
      "events:PutTargets",
      "events:TagResource",
    ]
    resources = [
      "${local.arn}:cloudwatch:${local.here}:alarm:${local.name}-*",
      "${local.arn}:events:${local.here}:rule/${local.name}-*",
    ]
  }

  statement {
    sid     = "RolesOfTasks"
    actions = ["iam:PassRole"]
    resources = [
      aws_iam_role.publisher.arn,
      aws_iam_role.execution["publication"].arn,
      aws_iam_role.execution["administration"].arn,
    ]

    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["ecs-tasks.amazonaws.com"]
    }
  }

  statement {
    sid       = "RoleOfHours"
    actions   = ["iam:PassRole"]
    resources = [aws_iam_role.scheduler.arn]

    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["scheduler.amazonaws.com"]
    }
  }
}
