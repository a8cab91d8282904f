data "aws_partition" "current" {}

locals {
  name = "capstone-${var.environment}"

  # the hours, the zone and the deadline are those of the project, and written there alone
  schedule    = yamldecode(file("${path.module}/../../conf/base/parameters/schedule.yml")).schedule
  publication = local.schedule.layers.publication

  # of conf/prod, which is what runs, whatever the environment here is called
  database = yamldecode(file("${path.module}/../../conf/prod/globals.yml")).database

  arn  = "arn:${data.aws_partition.current.partition}"
  lake = "${local.arn}:s3:::${aws_s3_bucket.lake.bucket}/${var.lake_prefix}"
}
