mock_provider "aws" {
  source = "./tests/mocks"
}

override_data {
  target = data.aws_iam_policy_document.lake
  values = { json = "{\"Id\": \"lake\"}" }
}

run "the_lake_is_private_encrypted_versioned_and_kept" {
  assert {
    condition = [
      aws_s3_bucket_public_access_block.lake.block_public_acls,
      aws_s3_bucket_public_access_block.lake.block_public_policy,
      aws_s3_bucket_public_access_block.lake.ignore_public_acls,
      aws_s3_bucket_public_access_block.lake.restrict_public_buckets,
    ] == [true, true, true, true]
    error_message = "The bucket could be made public."
  }

  assert {
    condition     = aws_s3_bucket_ownership_controls.lake.rule[0].object_ownership == "BucketOwnerEnforced"
    error_message = "Objects could have their own owners and access control lists."
  }

  assert {
    condition     = one(one(aws_s3_bucket_server_side_encryption_configuration.lake.rule).apply_server_side_encryption_by_default).sse_algorithm == "AES256"
    error_message = "Objects are not encrypted, or their ETag is not their MD5."
  }

  assert {
    condition     = aws_s3_bucket_versioning.lake.versioning_configuration[0].status == "Enabled"
    error_message = "The bucket is not versioned, so deleted objects are lost."
  }

  assert {
    condition     = aws_s3_bucket.lake.force_destroy != true
    error_message = "The lake would be deleted with the bucket."
  }

  assert {
    condition     = jsondecode(aws_s3_bucket_policy.lake.policy).Id == "lake"
    error_message = "The bucket has another policy than the one in lake.tf."
  }

  assert {
    condition = [for statement in data.aws_iam_policy_document.lake.statement : [
      statement.effect, one(statement.condition).test, one(statement.condition).variable, one(one(statement.condition).values),
      ]] == [
      ["Deny", "Bool", "aws:SecureTransport", "false"],
      ["Deny", "NumericLessThan", "s3:TlsVersion", "1.2"],
    ]
    error_message = "A request without TLS, or with an old version, is not denied; or everybody has a permission."
  }

  assert {
    condition = alltrue([for statement in data.aws_iam_policy_document.lake.statement :
      statement.actions == toset(["s3:*"]) &&
      statement.resources == toset(["arn:aws:s3:::capstone-test-lake-123456789012", "arn:aws:s3:::capstone-test-lake-123456789012/*"]) &&
      one(statement.principals).identifiers == toset(["*"])
    ])
    error_message = "Only some requests without TLS are denied."
  }

  assert {
    condition = { for rule in aws_s3_bucket_lifecycle_configuration.lake.rule : rule.filter[0].prefix => rule.noncurrent_version_expiration[0].noncurrent_days if length(rule.noncurrent_version_expiration) > 0 } == {
      "lakes/test/bronze/"     = 90
      "lakes/test/silver/"     = 7
      "lakes/test/gold/"       = 90
      "lakes/test/operations/" = 7
      "lakes/test/_tmp/"       = 1
    }
    error_message = "Replaced versions of a layer are retained forever, or not at all."
  }

  assert {
    condition     = [for rule in aws_s3_bucket_lifecycle_configuration.lake.rule : rule.abort_incomplete_multipart_upload[0].days_after_initiation if length(rule.abort_incomplete_multipart_upload) > 0] == [1]
    error_message = "Parts of interrupted uploads remain and cost money."
  }

  assert {
    condition     = { for rule in aws_s3_bucket_lifecycle_configuration.lake.rule : rule.filter[0].prefix => rule.expiration[0].days if try(rule.expiration[0].days > 0, false) } == { "lakes/test/_tmp/" = 30 }
    error_message = "Other objects than temporary ones expire, or these expire too early to complete a commit."
  }

  assert {
    condition     = { for rule in aws_s3_bucket_lifecycle_configuration.lake.rule : rule.filter[0].prefix => [for each in rule.transition : [each.storage_class, each.days]] if length(rule.transition) > 0 } == { "lakes/test/bronze/" = [["GLACIER_IR", 90]] }
    error_message = "Other objects than Bronze are archived, or in a class that a run cannot read at once."
  }

  assert {
    condition     = alltrue([for rule in aws_s3_bucket_lifecycle_configuration.lake.rule : rule.status == "Enabled"])
    error_message = "A lifecycle rule is disabled."
  }

  assert {
    condition     = aws_ecr_repository.publisher.image_tag_mutability == "IMMUTABLE" && aws_ecr_repository.publisher.image_scanning_configuration[0].scan_on_push
    error_message = "A tag could be moved to another image, or images are not scanned."
  }

  assert {
    condition     = [for rule in jsondecode(aws_ecr_lifecycle_policy.publisher.policy).rules : [rule.selection.tagStatus, rule.selection.countNumber, rule.action.type]] == [["untagged", 7, "expire"], ["any", 20, "expire"]]
    error_message = "Images accumulate, or too few are retained to roll back."
  }
}
