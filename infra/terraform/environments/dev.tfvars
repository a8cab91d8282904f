environment = "dev"
account_id  = "000000000000" # yours
region      = "sa-east-1"
zones       = ["sa-east-1a", "sa-east-1b"]

lake_prefix = "capstone-dev/someone" # the last part is your short name in Databricks

active             = false # to publish by hand, set active=true meanwhile
archive_days       = 30
noncurrent_days    = 7
log_days           = 30
database_protected = false
alarm_emails       = ["someone@example.org"] # yours
monthly_budget_usd = 60
