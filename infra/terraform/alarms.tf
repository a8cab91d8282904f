# Alarms, and who gets them: a failed task, a start that was given up, a day without a publication,
# and the budget.

resource "aws_sns_topic" "alarms" {
  #checkov:skip=CKV_AWS_26:The messages say that a task failed; alarms cannot publish to a topic that AWS's key encrypts
  name = "${local.name}-alarms"
}

resource "aws_sns_topic_subscription" "emails" {
  for_each = toset(var.alarm_emails)

  topic_arn = aws_sns_topic.alarms.arn
  protocol  = "email"
  endpoint  = each.key
}

resource "aws_sns_topic_policy" "alarms" {
  arn    = aws_sns_topic.alarms.arn
  policy = data.aws_iam_policy_document.alarms.json
}

data "aws_iam_policy_document" "alarms" {
  # as AWS documents it; a condition on the account is not documented to work for EventBridge rules
  statement {
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.alarms.arn]

    principals {
      type        = "Service"
      identifiers = ["events.amazonaws.com"]
    }
  }

  statement {
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.alarms.arn]

    principals {
      type        = "Service"
      identifiers = ["budgets.amazonaws.com", "cloudwatch.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [var.account_id]
    }
  }
}

resource "aws_cloudwatch_event_rule" "failed" {
  name        = "${local.name}-task-failed"
  description = "Tasks that ended with an error or did not start"

  event_pattern = jsonencode({
    source        = ["aws.ecs"]
    "detail-type" = ["ECS Task State Change"]
    detail = {
      clusterArn = [aws_ecs_cluster.this.arn]
      lastStatus = ["STOPPED"]
      "$or" = [
        { containers = { exitCode = [{ "anything-but" = 0 }] } },
        { stopCode = [{ "anything-but" = "EssentialContainerExited" }] },
      ]
    }
  })
}

resource "aws_cloudwatch_event_target" "failed" {
  rule = aws_cloudwatch_event_rule.failed.name
  arn  = aws_sns_topic.alarms.arn

  input_transformer {
    input_paths = {
      group   = "$.detail.group"
      reason  = "$.detail.stoppedReason"
      stopped = "$.detail.stoppedAt"
      task    = "$.detail.taskArn"
    }
    input_template = "\"${local.name}: <group> failed at <stopped>: <reason>. Its log is in ${aws_cloudwatch_log_group.tasks.name}. <task>\""
  }
}

# logs the successful publications; the alarm below uses their number
resource "aws_cloudwatch_event_rule" "published" {
  name        = "${local.name}-published"
  description = "Successful publications"

  event_pattern = jsonencode({
    source        = ["aws.ecs"]
    "detail-type" = ["ECS Task State Change"]
    detail = {
      clusterArn = [aws_ecs_cluster.this.arn]
      lastStatus = ["STOPPED"]
      containers = { name = ["publication"], exitCode = [0] }
    }
  })
}

resource "aws_cloudwatch_log_group" "published" {
  #checkov:skip=CKV_AWS_158:CloudWatch encrypts with its own key, and logs contain no secret
  #checkov:skip=CKV_AWS_338:log_days sets the retention; the database has the ledger of publications
  name              = "/aws/events/${local.name}-published"
  retention_in_days = var.log_days
}

resource "aws_cloudwatch_event_target" "published" {
  rule = aws_cloudwatch_event_rule.published.name
  arn  = aws_cloudwatch_log_group.published.arn
}

resource "aws_cloudwatch_log_resource_policy" "published" {
  policy_name     = "${local.name}-published"
  policy_document = data.aws_iam_policy_document.published.json
}

data "aws_iam_policy_document" "published" {
  statement {
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.published.arn}:*"]

    principals {
      type        = "Service"
      identifiers = ["delivery.logs.amazonaws.com", "events.amazonaws.com"]
    }
  }
}

locals {
  # a day and two hours: longer than from one publication to the deadline of the next one
  hours_without_publication = 26
}

resource "aws_cloudwatch_metric_alarm" "no_publication" {
  alarm_name        = "${local.name}-no-publication"
  alarm_description = "No publication succeeded for ${local.hours_without_publication} hours. See docs/aws.md."
  actions_enabled   = var.active
  alarm_actions     = [aws_sns_topic.alarms.arn]
  ok_actions        = [aws_sns_topic.alarms.arn]

  comparison_operator = "LessThanThreshold"
  threshold           = 1
  evaluation_periods  = local.hours_without_publication
  datapoints_to_alarm = local.hours_without_publication
  treat_missing_data  = "breaching"

  # an hour without a publication counts as 0; otherwise CloudWatch skips it and looks further back
  metric_query {
    id          = "each_hour"
    expression  = "FILL(published, 0)"
    label       = "Successful publications"
    return_data = true
  }

  metric_query {
    id = "published"

    metric {
      namespace   = "AWS/Events"
      metric_name = "Invocations"
      dimensions  = { RuleName = aws_cloudwatch_event_rule.published.name }
      period      = 3600
      stat        = "Sum"
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "missed" {
  alarm_name        = "${local.name}-missed-start"
  alarm_description = "The scheduler could not start a publication; the message in ${aws_sqs_queue.missed.name} has the reason."
  alarm_actions     = [aws_sns_topic.alarms.arn]

  namespace           = "AWS/SQS"
  metric_name         = "ApproximateNumberOfMessagesVisible"
  dimensions          = { QueueName = aws_sqs_queue.missed.name }
  statistic           = "Maximum"
  period              = 300
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
}

# for the whole account: a budget by tag needs the tags activated for billing first
resource "aws_budgets_budget" "monthly" {
  name         = "${local.name}-monthly"
  budget_type  = "COST"
  limit_amount = tostring(var.monthly_budget_usd)
  limit_unit   = "USD"
  time_unit    = "MONTHLY"

  dynamic "notification" {
    for_each = { ACTUAL = 80, FORECASTED = 100 }

    content {
      notification_type          = notification.key
      comparison_operator        = "GREATER_THAN"
      threshold                  = notification.value
      threshold_type             = "PERCENTAGE"
      subscriber_email_addresses = var.alarm_emails
      subscriber_sns_topic_arns  = [aws_sns_topic.alarms.arn]
    }
  }
}
