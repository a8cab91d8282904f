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
    error_message = "A subnet assigns public addresses."
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
    error_message = "The default security group allows traffic."
  }

  assert {
    condition = [for rule in [
      aws_vpc_security_group_ingress_rule.database_from_tasks,
      aws_vpc_security_group_ingress_rule.endpoints_from_tasks,
      ] : [rule.security_group_id, rule.referenced_security_group_id, rule.ip_protocol, rule.from_port, rule.to_port, coalesce(rule.cidr_ipv4, rule.cidr_ipv6, "none")]] == [
      ["sg-database", "sg-tasks", "tcp", 5432, 5432, "none"],
      ["sg-endpoints", "sg-tasks", "tcp", 443, 443, "none"],
    ]
    error_message = "Incoming traffic is not limited to the tasks: the database at 5432 and the endpoints at 443."
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
    error_message = "Outgoing traffic is not limited to the tasks: to the database, the endpoints and S3."
  }

  assert {
    condition     = length(aws_vpc_security_group_ingress_rule.database_from_readers) == 0
    error_message = "The database is open to readers that are not configured."
  }

  assert {
    condition     = keys(aws_vpc_endpoint.interface) == ["ecr.api", "ecr.dkr", "logs", "secretsmanager"]
    error_message = "A task cannot fetch its image or its secrets, or write its log."
  }

  assert {
    condition     = alltrue([for endpoint in aws_vpc_endpoint.interface : endpoint.private_dns_enabled && endpoint.vpc_endpoint_type == "Interface" && endpoint.security_group_ids == toset(["sg-endpoints"]) && length(endpoint.subnet_ids) == 1])
    error_message = "An endpoint has no private DNS name, the wrong type or security group, or more zones than configured."
  }

  assert {
    condition     = aws_vpc_endpoint.s3.vpc_endpoint_type == "Gateway" && length(aws_vpc_endpoint.s3.route_table_ids) == 1
    error_message = "S3 is not reached through a gateway endpoint, which is free."
  }

  assert {
    condition = [for statement in data.aws_iam_policy_document.s3_endpoint.statement : [statement.actions, statement.resources]] == [
      [
        toset(["s3:DeleteObject", "s3:GetObject", "s3:ListBucket", "s3:PutObject"]),
        toset(["arn:aws:s3:::capstone-test-lake-123456789012", "arn:aws:s3:::capstone-test-lake-123456789012/*"]),
      ],
      [toset(["s3:GetObject"]), toset(["arn:aws:s3:::prod-sa-east-1-starport-layer-bucket/*"])],
    ]
    error_message = "The S3 endpoint gives access to more than the lake and the image layers."
  }
}

run "readers_are_let_in_by_name" {
  variables {
    readers = ["10.1.0.0/24"]
  }

  assert {
    condition     = [for rule in aws_vpc_security_group_ingress_rule.database_from_readers : [rule.security_group_id, rule.cidr_ipv4, rule.ip_protocol, rule.from_port, rule.to_port]] == [["sg-database", "10.1.0.0/24", "tcp", 5432, 5432]]
    error_message = "Readers can reach more than the port of the database."
  }
}

run "what_is_not_active_costs_nothing_by_the_hour" {
  variables {
    active = false
  }

  assert {
    condition     = length(aws_vpc_endpoint.interface) == 0
    error_message = "Unused endpoints exist and cost money."
  }

  assert {
    condition     = alltrue([for schedule in aws_scheduler_schedule.publication : schedule.state == "DISABLED"])
    error_message = "A publication is scheduled although it cannot fetch its image."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.no_publication.actions_enabled == false
    error_message = "The alarm reports a missing publication although none is expected."
  }
}
