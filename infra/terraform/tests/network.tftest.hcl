mock_provider "aws" {
  source = "./tests/mocks"
}

override_resource {
  target = aws_security_group.tasks
  values = { id = "sg-tasks" }
}

override_resource {
  target = aws_security_group.endpoints
  values = { id = "sg-endpoints" }
}

override_resource {
  target = aws_security_group.database
  values = { id = "sg-database" }
}

run "a_network_that_opens_nothing" {
  assert {
    condition     = alltrue([for subnet in aws_subnet.private : subnet.map_public_ip_on_launch == false])
    error_message = "A subnet gives out public addresses."
  }

  assert {
    condition     = length(distinct(aws_subnet.private[*].availability_zone)) == 2
    error_message = "The database needs subnets in two zones."
  }

  assert {
    condition     = length(coalesce(aws_route_table.private.route, [])) == 0
    error_message = "A route leads out of the network."
  }

  assert {
    condition     = length(coalesce(aws_default_security_group.closed.ingress, [])) == 0 && length(coalesce(aws_default_security_group.closed.egress, [])) == 0
    error_message = "The group of whatever names none lets something pass."
  }

  assert {
    condition = [for rule in [
      aws_vpc_security_group_ingress_rule.database_from_tasks,
      aws_vpc_security_group_ingress_rule.endpoints_from_tasks,
      ] : [rule.security_group_id, rule.referenced_security_group_id, rule.ip_protocol, rule.from_port, rule.to_port, coalesce(rule.cidr_ipv4, rule.cidr_ipv6, "none")]] == [
      ["sg-database", "sg-tasks", "tcp", 5432, 5432, "none"],
      ["sg-endpoints", "sg-tasks", "tcp", 443, 443, "none"],
    ]
    error_message = "What comes in is the tasks, to the database at 5432 and to the endpoints at 443, and nothing else."
  }

  assert {
    condition = [for rule in [
      aws_vpc_security_group_egress_rule.tasks_to_database,
      aws_vpc_security_group_egress_rule.tasks_to_endpoints,
      aws_vpc_security_group_egress_rule.tasks_to_s3,
      ] : [rule.security_group_id, coalesce(rule.referenced_security_group_id, rule.prefix_list_id), rule.ip_protocol, rule.from_port, rule.to_port, coalesce(rule.cidr_ipv4, rule.cidr_ipv6, "none")]] == [
      ["sg-tasks", "sg-database", "tcp", 5432, 5432, "none"],
      ["sg-tasks", "sg-endpoints", "tcp", 443, 443, "none"],
      ["sg-tasks", "pl-1", "tcp", 443, 443, "none"],
    ]
    error_message = "What goes out is the tasks, to the database, the endpoints and S3, and nothing else."
  }

  assert {
    condition     = length(aws_vpc_security_group_ingress_rule.database_from_readers) == 0
    error_message = "The database is open to readers that nobody named."
  }

  assert {
    condition     = keys(aws_vpc_endpoint.interface) == ["ecr.api", "ecr.dkr", "logs", "secretsmanager"]
    error_message = "A task cannot fetch its image, its secrets or write its log."
  }

  assert {
    condition     = alltrue([for endpoint in aws_vpc_endpoint.interface : endpoint.private_dns_enabled && endpoint.vpc_endpoint_type == "Interface" && endpoint.security_group_ids == toset(["sg-endpoints"]) && length(endpoint.subnet_ids) == 1])
    error_message = "An endpoint is not found by its usual name, or by nobody, or in more zones than are paid for."
  }

  assert {
    condition     = aws_vpc_endpoint.s3.vpc_endpoint_type == "Gateway" && length(aws_vpc_endpoint.s3.route_table_ids) == 1
    error_message = "S3 is not reached through a gateway endpoint, which costs nothing."
  }

  assert {
    condition = [for statement in data.aws_iam_policy_document.s3_endpoint.statement : [statement.actions, statement.resources]] == [
      [
        toset(["s3:DeleteObject", "s3:GetObject", "s3:ListBucket", "s3:PutObject"]),
        toset(["arn:aws:s3:::capstone-test-lake-123456789012", "arn:aws:s3:::capstone-test-lake-123456789012/*"]),
      ],
      [toset(["s3:GetObject"]), toset(["arn:aws:s3:::prod-sa-east-1-starport-layer-bucket/*"])],
    ]
    error_message = "Through the endpoint of S3, something else than the lake and the layers of images is reached."
  }
}

run "readers_are_let_in_by_name" {
  variables {
    readers = ["10.1.0.0/24"]
  }

  assert {
    condition     = [for rule in aws_vpc_security_group_ingress_rule.database_from_readers : [rule.security_group_id, rule.cidr_ipv4, rule.ip_protocol, rule.from_port, rule.to_port]] == [["sg-database", "10.1.0.0/24", "tcp", 5432, 5432]]
    error_message = "Readers reach something else than the database's port."
  }
}

run "what_is_not_active_costs_nothing_by_the_hour" {
  variables {
    active = false
  }

  assert {
    condition     = length(aws_vpc_endpoint.interface) == 0
    error_message = "Endpoints that nobody uses are paid for."
  }

  assert {
    condition     = alltrue([for schedule in aws_scheduler_schedule.publication : schedule.state == "DISABLED"])
    error_message = "A publication is started that cannot fetch its image."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.no_publication.actions_enabled == false
    error_message = "Somebody is told that there is no publication where there is to be none."
  }
}
