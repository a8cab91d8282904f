# The serving database: a copy of Gold, in private subnets, over TLS only.

resource "aws_db_subnet_group" "serving" {
  name       = "${local.name}-serving"
  subnet_ids = aws_subnet.private[*].id
}

resource "aws_db_parameter_group" "serving" {
  name_prefix = "${local.name}-serving-"
  family      = "postgres18"

  parameter {
    name  = "rds.force_ssl"
    value = "1"
  }

  parameter {
    name  = "ssl_min_protocol_version"
    value = "TLSv1.2"
  }

  parameter {
    name  = "rds.accepted_password_auth_method"
    value = "scram"
  }

  # log statements that change tables and privileges, but no rows of a publication and no queries
  parameter {
    name  = "log_statement"
    value = "ddl"
  }

  parameter {
    name  = "log_min_duration_statement"
    value = "10000" # ms
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_db_instance" "serving" {
  #checkov:skip=CKV_AWS_118:One client a day and a few readers; metrics of one minute are enough
  #checkov:skip=CKV_AWS_157:It is a copy of Gold and can be rebuilt; database_multi_az adds a standby
  #checkov:skip=CKV_AWS_161:The publisher logs in with a password from Secrets Manager, over TLS, with SCRAM
  #checkov:skip=CKV_AWS_293:database_protected is on unless an environment that may be deleted turns it off
  #checkov:skip=CKV_AWS_353:Not available for the smallest instance class
  identifier     = "${local.name}-serving"
  engine         = "postgres"
  engine_version = "18"
  instance_class = var.database_class
  db_name        = local.database
  port           = 5432

  username                    = "capstone_admin"
  manage_master_user_password = true

  storage_type          = "gp3"
  allocated_storage     = 20
  max_allocated_storage = 100
  storage_encrypted     = true

  db_subnet_group_name   = aws_db_subnet_group.serving.name
  vpc_security_group_ids = [aws_security_group.database.id]
  publicly_accessible    = false
  parameter_group_name   = aws_db_parameter_group.serving.name
  ca_cert_identifier     = "rds-ca-rsa2048-g1"

  multi_az                    = var.database_multi_az
  backup_retention_period     = var.database_backup_days
  copy_tags_to_snapshot       = true
  deletion_protection         = var.database_protected
  delete_automated_backups    = false
  skip_final_snapshot         = false
  final_snapshot_identifier   = "${local.name}-serving-final"
  auto_minor_version_upgrade  = true
  allow_major_version_upgrade = false

  # in UTC, between the publication at 02:00 and the first window of the day at 11:00
  backup_window      = "04:00-05:00"
  maintenance_window = "sun:06:00-sun:07:00"

  enabled_cloudwatch_logs_exports = ["postgresql", "upgrade"]

  depends_on = [aws_cloudwatch_log_group.database]
}

resource "aws_cloudwatch_log_group" "database" {
  #checkov:skip=CKV_AWS_158:CloudWatch encrypts with its own key, and logs contain no secret
  #checkov:skip=CKV_AWS_338:log_days sets the retention; the lake has the record of each run for 400 days
  for_each = toset(["postgresql", "upgrade"])

  name              = "/aws/rds/instance/${local.name}-serving/${each.key}"
  retention_in_days = var.log_days
}

# the secrets for the passwords; their values are set by hand and are not in Terraform's state
resource "aws_secretsmanager_secret" "role" {
  #checkov:skip=CKV_AWS_149:AWS's key; an own key would cost as much as two secrets
  #checkov:skip=CKV2_AWS_57:Rotated by the administration task, see docs/aws.md
  for_each = toset(["loader", "bi_reader"])

  name                    = "${local.name}/serving/${each.key}"
  description             = "Credentials of ${each.key}: JSON with username and password"
  recovery_window_in_days = 7
}
