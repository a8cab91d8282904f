# The lake: private, encrypted, versioned, over TLS only.

resource "aws_s3_bucket" "lake" {
  #checkov:skip=CKV_AWS_18:CloudTrail has the accesses; a bucket of access logs would need a log bucket too
  #checkov:skip=CKV_AWS_144:Versions and the copies within a region protect it; a second region doubles the price
  #checkov:skip=CKV_AWS_145:With KMS an ETag is not the MD5 by which a run detects unchanged objects
  #checkov:skip=CKV2_AWS_62:Nothing waits for an object; the schedule starts all runs
  bucket = "${local.name}-lake-${var.account_id}"
}

resource "aws_s3_bucket_public_access_block" "lake" {
  bucket = aws_s3_bucket.lake.id

  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "lake" {
  bucket = aws_s3_bucket.lake.id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_versioning" "lake" {
  bucket = aws_s3_bucket.lake.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "lake" {
  bucket = aws_s3_bucket.lake.id

  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

resource "aws_s3_bucket_policy" "lake" {
  bucket = aws_s3_bucket.lake.id
  policy = data.aws_iam_policy_document.lake.json

  depends_on = [aws_s3_bucket_public_access_block.lake]
}

data "aws_iam_policy_document" "lake" {
  statement {
    sid       = "TlsOnly"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [aws_s3_bucket.lake.arn, "${aws_s3_bucket.lake.arn}/*"]

    principals {
      type        = "AWS"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }

  statement {
    sid       = "NoOldTls"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [aws_s3_bucket.lake.arn, "${aws_s3_bucket.lake.arn}/*"]

    principals {
      type        = "AWS"
      identifiers = ["*"]
    }

    condition {
      test     = "NumericLessThan"
      variable = "s3:TlsVersion"
      values   = ["1.2"]
    }
  }
}

locals {
  # how many days replaced or deleted versions are retained. Silver is written twice a day and can be
  # rebuilt from Bronze; a lock in _tmp is written every five seconds while a run holds it
  noncurrent_days = {
    bronze     = var.noncurrent_days
    silver     = 7
    gold       = var.noncurrent_days
    operations = 7
    _tmp       = 1
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "lake" {
  bucket = aws_s3_bucket.lake.id

  rule {
    id     = "all"
    status = "Enabled"

    filter {}

    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }

    expiration {
      expired_object_delete_marker = true
    }
  }

  dynamic "rule" {
    for_each = local.noncurrent_days

    content {
      id     = rule.key
      status = "Enabled"

      filter {
        prefix = "${var.lake_prefix}/${rule.key}/"
      }

      noncurrent_version_expiration {
        noncurrent_days = rule.value
      }
    }
  }

  # the full history, which only a rebuild reads again
  rule {
    id     = "archive-bronze"
    status = "Enabled"

    filter {
      prefix = "${var.lake_prefix}/bronze/"
    }

    transition {
      days          = var.archive_days
      storage_class = "GLACIER_IR"
    }
  }

  # staged files of dead runs; long enough to complete a recorded commit
  rule {
    id     = "sweep-tmp"
    status = "Enabled"

    filter {
      prefix = "${var.lake_prefix}/_tmp/"
    }

    expiration {
      days = 30
    }
  }

  depends_on = [aws_s3_bucket_versioning.lake]
}
