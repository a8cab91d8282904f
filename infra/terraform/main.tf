data "aws_partition" "current" {}

locals {
  name = "capstone-${var.environment}"

  # the hours, the zone and the deadline come from the project's configuration
  schedule    = yamldecode(file("${path.module}/../../conf/base/parameters/schedule.yml")).schedule
  publication = local.schedule.layers.publication

  # from conf/prod, which the tasks use, whatever the name of this environment
  database = yamldecode(file("${path.module}/../../conf/prod/globals.yml")).database

  arn  = "arn:${data.aws_partition.current.partition}"
  lake = "${local.arn}:s3:::${aws_s3_bucket.lake.bucket}/${var.lake_prefix}"
}
