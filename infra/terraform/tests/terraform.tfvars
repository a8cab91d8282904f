environment   = "test"
account_id    = "123456789012"
zones         = ["sa-east-1a", "sa-east-1b"]
lake_prefix   = "lakes/test"
image_tag     = "1.2.3"
rds_ca_bundle = "-----BEGIN CERTIFICATE-----"
alarm_emails  = ["data@example.org"]
