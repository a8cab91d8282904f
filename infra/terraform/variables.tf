variable "environment" {
  description = "The environment; all names begin with capstone- and it"
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9]{1,9}$", var.environment))
    error_message = "An environment has 2 to 10 lower-case letters and digits, such as prod."
  }
}

variable "account_id" {
  description = "The AWS account; credentials of another account are rejected"
  type        = string

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "An account is 12 digits."
  }
}

variable "region" {
  description = "The AWS region of all resources"
  type        = string
  default     = "sa-east-1"
}

variable "zones" {
  description = "The two availability zones of the subnets"
  type        = list(string)

  validation {
    condition     = length(distinct(var.zones)) == 2 && alltrue([for zone in var.zones : startswith(zone, var.region)])
    error_message = "zones are two zones of the region, such as sa-east-1a and sa-east-1b."
  }
}

variable "active" {
  description = "Whether publications run; if not, only the database still costs by the hour"
  type        = bool
  default     = true
}

variable "lake_prefix" {
  description = "The prefix of the lake in its bucket, as in CAPSTONE_PREFIX"
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*$", var.lake_prefix))
    error_message = "A prefix is one or more plain names separated by /, without / at its ends."
  }
}

variable "archive_days" {
  description = "The age in days at which an object of Bronze moves to Glacier Instant Retrieval"
  type        = number
  default     = 90

  validation {
    condition     = var.archive_days >= 30
    error_message = "archive_days is 30 or more, so that late windows are merged before."
  }
}

variable "noncurrent_days" {
  description = "How many days a replaced or deleted version of Bronze or Gold can be restored"
  type        = number
  default     = 90

  validation {
    condition     = var.noncurrent_days >= 7
    error_message = "noncurrent_days is 7 or more, so that a weekend passes before a loss is final."
  }
}

variable "image_tag" {
  description = "The tag of the publisher's image in the repository, set by TF_VAR_image_tag; tags are immutable"
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$", var.image_tag)) && var.image_tag != "latest"
    error_message = "image_tag always names the same image, such as a version or a commit; not latest."
  }
}

variable "vpc_cidr" {
  description = "The addresses of the network, which has no route to the internet"
  type        = string
  default     = "10.20.0.0/24"

  validation {
    condition     = can(cidrhost(var.vpc_cidr, 0)) && can(regex("^(10|172\\.(1[6-9]|2[0-9]|3[01])|192\\.168)\\.", var.vpc_cidr)) && can(cidrsubnet(var.vpc_cidr, 2, 0))
    error_message = "vpc_cidr is a private block, such as 10.20.0.0/24."
  }
}

variable "endpoint_zones" {
  description = "The number of availability zones for publications; each has its own endpoints, which cost by the hour"
  type        = number
  default     = 1

  validation {
    condition     = contains([1, 2], var.endpoint_zones)
    error_message = "endpoint_zones is 1 or 2."
  }
}

variable "readers" {
  description = "The private blocks of readers of the database, such as that of a peered network or of a VPN"
  type        = list(string)
  default     = []

  validation {
    condition = alltrue([
      for block in var.readers : can(cidrhost(block, 0)) &&
      can(regex("^(10|172\\.(1[6-9]|2[0-9]|3[01])|192\\.168)\\.", block)) && try(tonumber(split("/", block)[1]) >= 16, false)
    ])
    error_message = "readers are private blocks of /16 or smaller, such as 10.0.0.0/24; the database does not accept public addresses."
  }
}

variable "database_class" {
  description = "The instance class of the database"
  type        = string
  default     = "db.t4g.micro"
}

variable "database_multi_az" {
  description = "Whether the database has a standby in another zone; it can be rebuilt from Gold"
  type        = bool
  default     = false
}

variable "database_backup_days" {
  description = "How many days back the database can be restored, to any second"
  type        = number
  default     = 7

  validation {
    condition     = var.database_backup_days >= 7 && var.database_backup_days <= 35
    error_message = "database_backup_days is 7 to 35."
  }
}

variable "database_protected" {
  description = "Whether the database is protected against deletion"
  type        = bool
  default     = true
}

variable "rds_ca_bundle" {
  description = "The certificates of the RDS authority in this region, as PEM: the content of REGION-bundle.pem"
  type        = string

  validation {
    condition     = can(regex("-----BEGIN CERTIFICATE-----", var.rds_ca_bundle)) && length(var.rds_ca_bundle) < 30000
    error_message = "rds_ca_bundle is the bundle of one region, as PEM; docs/aws.md has its URL."
  }
}

variable "log_days" {
  description = "The retention of logs in days"
  type        = number
  default     = 90

  validation {
    condition     = contains([30, 60, 90, 120, 150, 180, 365, 400, 545, 731], var.log_days)
    error_message = "log_days is one of 30, 60, 90, 120, 150, 180, 365, 400, 545, 731."
  }
}

variable "alarm_emails" {
  description = "The e-mail addresses for alarms: a publication failed or is missing, or the budget runs out"
  type        = list(string)

  validation {
    condition     = length(var.alarm_emails) > 0 && alltrue([for email in var.alarm_emails : can(regex("^[^@ ]+@[^@ ]+$", email))])
    error_message = "alarm_emails has at least one address, so that somebody gets the alarms."
  }
}

variable "monthly_budget_usd" {
  description = "The monthly budget of the account in US dollars; an alarm reports when it runs out"
  type        = number
  default     = 100

  validation {
    condition     = var.monthly_budget_usd > 0
    error_message = "monthly_budget_usd is more than 0."
  }
}

variable "github_repository" {
  description = "The repository whose workflows may deploy: OWNER/REPOSITORY, or OWNER@ID/REPOSITORY@ID if its tokens have ids; if null, none may"
  type        = string
  default     = null

  validation {
    condition = var.github_repository == null || can(regex(
      "^([A-Za-z0-9-]+/[A-Za-z0-9._-]+|[A-Za-z0-9-]+@[0-9]+/[A-Za-z0-9._-]+@[0-9]+)$", var.github_repository
    ))
    error_message = "github_repository is one repository, such as example/capstone-metrics or example@123/capstone-metrics@456."
  }
}
