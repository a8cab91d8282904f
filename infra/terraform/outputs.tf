output "bucket" {
  description = "The lake's bucket: CAPSTONE_BUCKET, and the variable bucket of the Databricks bundle"
  value       = aws_s3_bucket.lake.bucket
}

output "lake_prefix" {
  description = "CAPSTONE_PREFIX, and the variable prefix of the bundle"
  value       = var.lake_prefix
}

output "region" {
  description = "AWS_REGION, and the variable region of the bundle"
  value       = var.region
}

output "instance_profile_arn" {
  description = "The variable of the same name of the bundle"
  value       = aws_iam_instance_profile.databricks.arn
}

output "databricks_role_arn" {
  description = "The role that Databricks passes to its clusters: its own role needs iam:PassRole on it"
  value       = aws_iam_role.databricks.arn
}

output "repository_url" {
  description = "The repository to push the image to"
  value       = aws_ecr_repository.publisher.repository_url
}

output "database_host" {
  description = "The host name of the database, for clients in the network or in a block of readers"
  value       = aws_db_instance.serving.address
}

output "database_name" {
  description = "The name of the serving database"
  value       = local.database
}

output "reader_secret" {
  description = "The secret of bi_reader, for readers of the database"
  value       = aws_secretsmanager_secret.role["bi_reader"].name
}

output "network" {
  description = "The network, for peering with the network of readers"
  value       = { vpc_id = aws_vpc.this.id, route_table_id = aws_route_table.private.id, cidr = var.vpc_cidr }
}

output "log_group" {
  description = "The log group of the tasks"
  value       = aws_cloudwatch_log_group.tasks.name
}

output "cluster" {
  description = "The cluster of the tasks"
  value       = aws_ecs_cluster.this.name
}

output "publication" {
  description = "The input of aws ecs run-task --cli-input-json, to publish now"
  value       = jsonencode(merge(local.run_task, { taskDefinition = aws_ecs_task_definition.this["publication"].family }))
}

output "administration" {
  description = "The same, to set up the database and set the passwords of its roles from their secrets"
  value       = jsonencode(merge(local.run_task, { taskDefinition = aws_ecs_task_definition.this["administration"].family }))
}

output "github_roles" {
  description = "The variable AWS_ROLE of each GitHub environment"
  value       = { for name, role in aws_iam_role.github : local.github_environments[name] => role.arn }
}

locals {
  run_task = {
    cluster    = aws_ecs_cluster.this.name
    launchType = "FARGATE"
    networkConfiguration = {
      awsvpcConfiguration = {
        subnets        = local.task_subnets
        securityGroups = [aws_security_group.tasks.id]
        assignPublicIp = "DISABLED"
      }
    }
  }
}
