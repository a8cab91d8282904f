environment   = "test"
account_id    = "123456789012"
lake_prefix   = "lakes/test"
image_tag     = "1.2.3"
rds_ca_bundle = "-----BEGIN CERTIFICATE-----"
alarm_emails  = ["data@example.org"]
