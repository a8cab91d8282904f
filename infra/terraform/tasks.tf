# The tasks: the publication, which is scheduled, and the administration of the database, by hand.

resource "aws_ecs_cluster" "this" {
  #checkov:skip=CKV_AWS_65:One task a day; events monitor its end, and the run record has its metrics
  name = local.name
}

resource "aws_cloudwatch_log_group" "tasks" {
  #checkov:skip=CKV_AWS_158:CloudWatch encrypts with its own key, and logs contain no secret
  #checkov:skip=CKV_AWS_338:log_days sets the retention; the lake has the record of each run for 400 days
  name              = "/${local.name}/tasks"
  retention_in_days = var.log_days
}

locals {
  certificates = "/tmp/rds-ca.pem"

  tasks = {
    # the entry point of the image is python -m capstone_metrics; it reads its credentials itself
    publication = {
      entry   = null
      command = ["--env=prod", "--pipelines=publish_gold"]
      role    = aws_iam_role.publisher.arn
      login = {
        CAPSTONE_DSN        = local.dsn
        CAPSTONE_DSN_SECRET = aws_secretsmanager_secret.role["loader"].arn
      }
      secrets = {}
    }
    administration = {
      entry   = ["python"]
      command = ["-m", "capstone_metrics.serving.administer"]
      role    = null
      login   = { CAPSTONE_DSN = "${local.dsn} user=${aws_db_instance.serving.username}" }
      secrets = {
        PGPASSWORD               = "${local.master_secret}:password::"
        CAPSTONE_LOADER_PASSWORD = "${aws_secretsmanager_secret.role["loader"].arn}:password::"
        CAPSTONE_READER_PASSWORD = "${aws_secretsmanager_secret.role["bi_reader"].arn}:password::"
      }
    }
  }

  master_secret = aws_db_instance.serving.master_user_secret[0].secret_arn
}

resource "aws_ecs_task_definition" "this" {
  for_each = local.tasks

  family                   = "${local.name}-${each.key}"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = 256
  memory                   = 1024
  skip_destroy             = true # retain old definitions, so that the deploying role needs no permission to remove them
  execution_role_arn       = aws_iam_role.execution[each.key].arn
  task_role_arn            = each.value.role

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = "X86_64"
  }

  volume {
    name = "tmp"
  }

  container_definitions = jsonencode([
    # the volume belongs to root, and the certificates must be a file
    {
      name       = "prepare"
      image      = local.image
      essential  = false
      user       = "0"
      entryPoint = ["python", "-c"]
      command    = ["import os, pathlib; pathlib.Path('${local.certificates}').write_text(os.environ['CERTIFICATES']); os.chmod('/tmp', 0o1777)"]

      environment            = [{ name = "CERTIFICATES", value = var.rds_ca_bundle }]
      mountPoints            = [{ sourceVolume = "tmp", containerPath = "/tmp", readOnly = false }]
      readonlyRootFilesystem = true
      logConfiguration       = local.log_configuration
    },
    {
      name       = each.key
      image      = local.image
      essential  = true
      entryPoint = each.value.entry
      command    = each.value.command
      dependsOn  = [{ containerName = "prepare", condition = "SUCCESS" }]

      environment            = [for name, value in merge(local.variables, each.value.login) : { name = name, value = value }]
      secrets                = [for name, arn in each.value.secrets : { name = name, valueFrom = arn }]
      mountPoints            = [{ sourceVolume = "tmp", containerPath = "/tmp", readOnly = false }]
      readonlyRootFilesystem = true
      linuxParameters        = { initProcessEnabled = true }
      logConfiguration       = local.log_configuration
    },
  ])
}

locals {
  image = "${aws_ecr_repository.publisher.repository_url}:${var.image_tag}"

  # beyond loopback the publisher sets verify-full itself
  dsn = "host=${aws_db_instance.serving.address} port=${aws_db_instance.serving.port} dbname=${local.database} sslrootcert=${local.certificates}"

  variables = {
    AWS_REGION      = var.region
    CAPSTONE_BUCKET = aws_s3_bucket.lake.bucket
    CAPSTONE_PREFIX = var.lake_prefix
    DO_NOT_TRACK    = "1"
    HOME            = "/tmp"
  }

  log_configuration = {
    logDriver = "awslogs"
    options = {
      awslogs-group         = aws_cloudwatch_log_group.tasks.name
      awslogs-region        = var.region
      awslogs-stream-prefix = "ecs"
    }
  }
}

# the schedule of the publication
resource "aws_scheduler_schedule_group" "this" {
  name = local.name
}

resource "aws_scheduler_schedule" "publication" {
  #checkov:skip=CKV_AWS_297:A schedule contains no secret; AWS's key is enough
  for_each = toset(local.publication.starts)

  name       = "publication-${replace(each.key, ":", "")}"
  group_name = aws_scheduler_schedule_group.this.name
  state      = var.active ? "ENABLED" : "DISABLED"

  schedule_expression          = "cron(${tonumber(split(":", each.key)[1])} ${tonumber(split(":", each.key)[0])} * * ? *)"
  schedule_expression_timezone = local.schedule.timezone

  flexible_time_window {
    mode = "OFF"
  }

  target {
    arn      = aws_ecs_cluster.this.arn
    role_arn = aws_iam_role.scheduler.arn

    ecs_parameters {
      task_definition_arn = aws_ecs_task_definition.this["publication"].arn
      launch_type         = "FARGATE"
      propagate_tags      = "TASK_DEFINITION"

      network_configuration {
        subnets          = local.task_subnets
        security_groups  = [aws_security_group.tasks.id]
        assign_public_ip = false
      }
    }

    # retries of the start, until the publication is late
    retry_policy {
      maximum_retry_attempts       = 10
      maximum_event_age_in_seconds = local.publication.minutes * 60
    }

    dead_letter_config {
      arn = aws_sqs_queue.missed.arn
    }
  }
}

# starts that the scheduler gave up
resource "aws_sqs_queue" "missed" {
  name                      = "${local.name}-missed-publications"
  message_retention_seconds = 1209600 # 14 days
  sqs_managed_sse_enabled   = true
}
