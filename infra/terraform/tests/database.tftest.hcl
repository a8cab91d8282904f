mock_provider "aws" {
  source = "./tests/mocks"
}

override_resource {
  target = aws_security_group.database
  values = { id = "sg-database" }
}

run "the_database_is_private_encrypted_and_kept" {
  assert {
    condition     = aws_db_instance.serving.publicly_accessible == false
    error_message = "The database has a public address."
  }

  assert {
    condition     = aws_db_instance.serving.vpc_security_group_ids == toset(["sg-database"])
    error_message = "The database has another security group than its own."
  }

  assert {
    condition     = length(aws_db_subnet_group.serving.subnet_ids) >= 1 && aws_db_instance.serving.db_subnet_group_name == "capstone-test-serving"
    error_message = "The database is not in the private subnets."
  }

  assert {
    condition     = aws_db_instance.serving.storage_encrypted == true
    error_message = "The storage of the database is not encrypted."
  }

  assert {
    condition     = aws_db_instance.serving.backup_retention_period == 7 && aws_db_instance.serving.skip_final_snapshot == false && aws_db_instance.serving.delete_automated_backups == false
    error_message = "The database is not backed up, or its backups are deleted with it."
  }

  assert {
    condition     = aws_db_instance.serving.deletion_protection == true
    error_message = "The database can be deleted by accident."
  }

  assert {
    condition = {
      for parameter in aws_db_parameter_group.serving.parameter : parameter.name => parameter.value
      if contains(["rds.force_ssl", "ssl_min_protocol_version", "rds.accepted_password_auth_method"], parameter.name)
      } == {
      "rds.force_ssl"                     = "1"
      "ssl_min_protocol_version"          = "TLSv1.2"
      "rds.accepted_password_auth_method" = "scram"
    }
    error_message = "The database accepts connections without TLS, or MD5 passwords."
  }

  assert {
    condition     = aws_db_parameter_group.serving.family == "postgres${aws_db_instance.serving.engine_version}"
    error_message = "The parameter group is of another version than the database."
  }

  assert {
    condition     = aws_db_instance.serving.manage_master_user_password == true && aws_db_instance.serving.password == null
    error_message = "Terraform's state has the administrator's password."
  }

  assert {
    condition     = keys(aws_secretsmanager_secret.role) == ["bi_reader", "loader"] && alltrue([for secret in aws_secretsmanager_secret.role : secret.recovery_window_in_days >= 7])
    error_message = "A role has no secret for its password, or a deleted secret cannot be recovered."
  }

  assert {
    condition = alltrue([for group in concat(
      values(aws_cloudwatch_log_group.database), [aws_cloudwatch_log_group.tasks, aws_cloudwatch_log_group.published],
    ) : group.retention_in_days == 90])
    error_message = "A log group has no retention."
  }

  assert {
    condition     = toset(aws_db_instance.serving.enabled_cloudwatch_logs_exports) == toset(keys(aws_cloudwatch_log_group.database))
    error_message = "A log of the database goes to a group without retention."
  }
}
