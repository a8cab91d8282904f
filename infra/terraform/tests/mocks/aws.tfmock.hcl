# Attributes that AWS would return for its resources.

mock_data "aws_partition" {
  defaults = {
    partition = "aws"
  }
}

mock_data "aws_iam_policy_document" {
  defaults = {
    json = "{}"
  }
}

mock_resource "aws_s3_bucket" {
  defaults = {
    id  = "capstone-test-lake-123456789012"
    arn = "arn:aws:s3:::capstone-test-lake-123456789012"
  }
}

mock_resource "aws_db_instance" {
  defaults = {
    address            = "serving.example.rds.amazonaws.com"
    master_user_secret = [{ secret_arn = "arn:aws:secretsmanager:sa-east-1:123456789012:secret:master" }]
  }
}

mock_resource "aws_secretsmanager_secret" {
  defaults = {
    arn = "arn:aws:secretsmanager:sa-east-1:123456789012:secret:role"
  }
}

mock_resource "aws_ecr_repository" {
  defaults = {
    arn            = "arn:aws:ecr:sa-east-1:123456789012:repository/capstone-test/publisher"
    repository_url = "123456789012.dkr.ecr.sa-east-1.amazonaws.com/capstone-test/publisher"
  }
}

mock_resource "aws_ecs_cluster" {
  defaults = {
    arn = "arn:aws:ecs:sa-east-1:123456789012:cluster/capstone-test"
  }
}

mock_resource "aws_ecs_task_definition" {
  defaults = {
    arn = "arn:aws:ecs:sa-east-1:123456789012:task-definition/capstone-test:1"
  }
}

mock_resource "aws_iam_role" {
  defaults = {
    arn = "arn:aws:iam::123456789012:role/capstone-test"
  }
}

mock_resource "aws_iam_openid_connect_provider" {
  defaults = {
    arn = "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com"
  }
}

mock_resource "aws_iam_instance_profile" {
  defaults = {
    arn = "arn:aws:iam::123456789012:instance-profile/capstone-test-databricks"
  }
}

mock_resource "aws_sqs_queue" {
  defaults = {
    arn = "arn:aws:sqs:sa-east-1:123456789012:capstone-test-missed-publications"
  }
}

mock_resource "aws_sns_topic" {
  defaults = {
    arn = "arn:aws:sns:sa-east-1:123456789012:capstone-test-alarms"
  }
}

mock_resource "aws_cloudwatch_log_group" {
  defaults = {
    arn = "arn:aws:logs:sa-east-1:123456789012:log-group:capstone-test"
  }
}

mock_resource "aws_vpc" {
  defaults = {
    id = "vpc-1"
  }
}

mock_resource "aws_vpc_endpoint" {
  defaults = {
    prefix_list_id = "pl-1"
  }
}
