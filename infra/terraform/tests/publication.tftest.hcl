mock_provider "aws" {
  source = "./tests/mocks"
}

override_resource {
  target = aws_secretsmanager_secret.role["loader"]
  values = { arn = "arn:aws:secretsmanager:sa-east-1:123456789012:secret:loader" }
}

override_resource {
  target = aws_iam_role.publisher
  values = { arn = "arn:aws:iam::123456789012:role/publisher" }
}

override_resource {
  target = aws_iam_role.scheduler
  values = { arn = "arn:aws:iam::123456789012:role/scheduler" }
}

run "the_publication_starts_at_its_hour_and_somebody_is_told_if_not" {
  assert {
    condition     = { for schedule in aws_scheduler_schedule.publication : schedule.name => [schedule.schedule_expression, schedule.schedule_expression_timezone, schedule.state] } == { "publication-2300" = ["cron(0 23 * * ? *)", "America/Sao_Paulo", "ENABLED"] }
    error_message = "The publication starts at another hour."
  }

  assert {
    condition     = alltrue([for schedule in aws_scheduler_schedule.publication : one(schedule.flexible_time_window).mode == "OFF"])
    error_message = "The start has a flexible time window."
  }

  assert {
    condition     = alltrue([for schedule in aws_scheduler_schedule.publication : one(one(schedule.target).retry_policy).maximum_event_age_in_seconds == 1800 && one(one(schedule.target).retry_policy).maximum_retry_attempts == 10])
    error_message = "A start is not retried, or is retried after the deadline."
  }

  assert {
    condition     = alltrue([for schedule in aws_scheduler_schedule.publication : one(one(schedule.target).dead_letter_config).arn == "arn:aws:sqs:sa-east-1:123456789012:capstone-test-missed-publications"])
    error_message = "A start that was given up is not queued."
  }

  assert {
    condition     = aws_sqs_queue.missed.sqs_managed_sse_enabled == true && aws_sqs_queue.missed.message_retention_seconds == 1209600
    error_message = "The queue of missed starts is not encrypted, or deletes messages too early."
  }

  assert {
    condition     = alltrue([for schedule in aws_scheduler_schedule.publication : one(schedule.target).role_arn == "arn:aws:iam::123456789012:role/scheduler" && one(one(one(schedule.target).ecs_parameters).network_configuration).assign_public_ip == false])
    error_message = "The task gets a public address, or another role starts it."
  }

  assert {
    condition     = aws_ecs_task_definition.this["publication"].task_role_arn == "arn:aws:iam::123456789012:role/publisher" && aws_ecs_task_definition.this["administration"].task_role_arn == null
    error_message = "The publisher has another role, or the administration task can access the lake."
  }

  assert {
    condition = [for container in jsondecode(aws_ecs_task_definition.this["publication"].container_definitions) : [container.name, container.image, container.readonlyRootFilesystem]] == [
      ["prepare", "123456789012.dkr.ecr.sa-east-1.amazonaws.com/capstone-test/publisher:1.2.3", true],
      ["publication", "123456789012.dkr.ecr.sa-east-1.amazonaws.com/capstone-test/publisher:1.2.3", true],
    ]
    error_message = "The task runs another image, or its file system is writable."
  }

  assert {
    condition     = jsondecode(aws_ecs_task_definition.this["publication"].container_definitions)[1].entryPoint == null && jsondecode(aws_ecs_task_definition.this["publication"].container_definitions)[1].command == ["--env=prod", "--pipelines=publish_gold"]
    error_message = "The task runs another command."
  }

  assert {
    condition = { for variable in jsondecode(aws_ecs_task_definition.this["publication"].container_definitions)[1].environment : variable.name => variable.value } == {
      AWS_REGION      = "sa-east-1"
      CAPSTONE_BUCKET = "capstone-test-lake-123456789012"
      CAPSTONE_PREFIX = "lakes/test"
      CAPSTONE_DSN    = "host=serving.example.rds.amazonaws.com port=5432 dbname=capstone_prod sslrootcert=/tmp/rds-ca.pem"
      DO_NOT_TRACK    = "1"
      HOME            = "/tmp"

      CAPSTONE_DSN_SECRET = "arn:aws:secretsmanager:sa-east-1:123456789012:secret:loader"
    }
    error_message = "The environment of the publisher has other values for the lake or the database, or a secret."
  }

  assert {
    condition     = jsondecode(aws_ecs_task_definition.this["publication"].container_definitions)[1].secrets == []
    error_message = "The environment of the publisher has a password, which would outlive a rotation."
  }

  assert {
    condition     = aws_ecs_task_definition.this["publication"].skip_destroy && aws_ecs_task_definition.this["administration"].skip_destroy
    error_message = "A deployment removes the previous task definition, for which it has no permission."
  }

  assert {
    condition     = toset([for email in aws_sns_topic_subscription.emails : email.endpoint]) == toset(["data@example.org"])
    error_message = "The alarms have no subscriber."
  }

  assert {
    condition     = aws_cloudwatch_event_target.failed.arn == aws_sns_topic.alarms.arn && aws_cloudwatch_event_target.failed.rule == "capstone-test-task-failed"
    error_message = "A failed task sends no alarm."
  }

  assert {
    condition = jsondecode(aws_cloudwatch_event_rule.failed.event_pattern).detail == {
      clusterArn = ["arn:aws:ecs:sa-east-1:123456789012:cluster/capstone-test"]
      lastStatus = ["STOPPED"]
      "$or" = [
        { containers = { exitCode = [{ "anything-but" = 0 }] } },
        { stopCode = [{ "anything-but" = "EssentialContainerExited" }] },
      ]
    }
    error_message = "The rule does not match a task that failed or did not start."
  }

  assert {
    condition     = jsondecode(aws_cloudwatch_event_rule.published.event_pattern).detail.containers == { name = ["publication"], exitCode = [0] }
    error_message = "The rule matches more than successful publications."
  }

  assert {
    condition = [
      aws_cloudwatch_metric_alarm.no_publication.treat_missing_data,
      aws_cloudwatch_metric_alarm.no_publication.comparison_operator,
      aws_cloudwatch_metric_alarm.no_publication.threshold,
      aws_cloudwatch_metric_alarm.no_publication.evaluation_periods * one(flatten([for query in aws_cloudwatch_metric_alarm.no_publication.metric_query : query.metric[*].period])),
      aws_cloudwatch_metric_alarm.no_publication.datapoints_to_alarm,
      aws_cloudwatch_metric_alarm.no_publication.actions_enabled,
    ] == ["breaching", "LessThanThreshold", 1, 26 * 3600, 26, true]
    error_message = "A publication can be missing for longer than 26 hours, or without an alarm."
  }

  assert {
    condition     = alltrue([for alarm in [aws_cloudwatch_metric_alarm.no_publication, aws_cloudwatch_metric_alarm.missed] : alarm.alarm_actions == toset([aws_sns_topic.alarms.arn])])
    error_message = "An alarm has no action."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.missed.dimensions == tomap({ QueueName = "capstone-test-missed-publications" }) && aws_cloudwatch_metric_alarm.missed.threshold == 0
    error_message = "A missed start raises no alarm."
  }

  assert {
    condition     = { for notification in aws_budgets_budget.monthly.notification : notification.notification_type => notification.threshold } == { ACTUAL = 80, FORECASTED = 100 } && aws_budgets_budget.monthly.limit_amount == "100"
    error_message = "The budget has no alarm, or another limit."
  }

  assert {
    condition     = alltrue([for task in [output.publication, output.administration] : jsondecode(task).networkConfiguration.awsvpcConfiguration.assignPublicIp == "DISABLED" && jsondecode(task).cluster == "capstone-test"])
    error_message = "A task started by hand gets a public address, or runs in another cluster."
  }
}
