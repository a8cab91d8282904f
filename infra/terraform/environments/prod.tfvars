environment = "prod"
account_id  = "000000000000" # yours
region      = "sa-east-1"
zones       = ["sa-east-1a", "sa-east-1b"]

lake_prefix = "capstone-prod" # the same as in infra/databricks/databricks.yml

database_class     = "db.t4g.small"
endpoint_zones     = 2
alarm_emails       = ["data@example.org"] # yours
monthly_budget_usd = 300

# without it, the workflows have no permissions in AWS: docs/delivery.md
# github_repository = "OWNER/REPOSITORY"
