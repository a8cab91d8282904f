mock_provider "aws" {
  source = "./tests/mocks"
}

run "the_world_is_no_reader" {
  command = plan

  variables {
    readers = ["10.1.0.0/24", "0.0.0.0/0"]
  }

  expect_failures = [var.readers]
}

run "nor_is_a_public_block" {
  command = plan

  variables {
    readers  = ["200.147.0.0/16"]
    vpc_cidr = "11.0.0.0/24"
  }

  expect_failures = [var.readers, var.vpc_cidr]
}

run "a_tag_is_of_one_image" {
  command = plan

  variables {
    image_tag = "latest"
  }

  expect_failures = [var.image_tag]
}

run "what_is_kept_too_short_or_heard_by_nobody_is_refused" {
  command = plan

  variables {
    database_backup_days = 0
    noncurrent_days      = 1
    log_days             = 0
    alarm_emails         = []
    account_id           = "mine"
    lake_prefix          = "/lake/"
    rds_ca_bundle        = ""
    zones                = ["us-east-1a", "us-east-1a"]
  }

  expect_failures = [
    var.account_id, var.alarm_emails, var.database_backup_days, var.lake_prefix, var.log_days, var.noncurrent_days,
    var.rds_ca_bundle, var.zones,
  ]
}
