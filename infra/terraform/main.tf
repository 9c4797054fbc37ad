# What infra/kubernetes needs outside the cluster: bucket, databases and secrets. Not applied anywhere yet, and not
# validated against the providers, which are not at hand; a test parses the files and follows their references.
locals {
  # The same file drives `make stack`, compose and Kubernetes.
  stack = {
    for line in split("\n", file("${path.module}/../stack.env")) :
    split("=", line)[0] => split("=", line)[1] if startswith(line, "STACK_")
  }
  databases = [for name, value in local.stack : value if endswith(name, "_DATABASE")]
  # Those of infra/compose.yaml, except the store's keys, which Amazon makes.
  generated = toset([
    "POSTGRES_PASSWORD", "MLFLOW_PASSWORD", "MLFLOW_SESSION_KEY", "PREFECT_PASSWORD", "RAY_TOKEN",
    "SERVICE_TOKEN", "METRICS_TOKEN", "GRAFANA_PASSWORD",
  ])
}

resource "aws_s3_bucket" "stack" {
  bucket = var.bucket
}

resource "aws_s3_bucket_public_access_block" "stack" {
  bucket                  = aws_s3_bucket.stack.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

# Deleted objects are gone at once, as a takedown requires: no versions are kept.
resource "aws_s3_bucket_lifecycle_configuration" "stack" {
  bucket = aws_s3_bucket.stack.id
  rule {
    id     = "unfinished-uploads"
    status = "Enabled"
    filter {}
    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }
  }
}

resource "aws_iam_user" "stack" {
  name = "${var.bucket}-clients"
}

resource "aws_iam_user_policy" "stack" {
  user = aws_iam_user.stack.name
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      { Effect = "Allow", Action = ["s3:ListBucket"], Resource = aws_s3_bucket.stack.arn },
      {
        Effect   = "Allow"
        Action   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
        Resource = "${aws_s3_bucket.stack.arn}/*"
      },
    ]
  })
}

resource "aws_iam_access_key" "stack" {
  user = aws_iam_user.stack.name
}

resource "aws_db_subnet_group" "stack" {
  name       = var.bucket
  subnet_ids = var.subnet_ids
}

resource "aws_security_group" "database" {
  name   = "${var.bucket}-database"
  vpc_id = var.vpc_id
  ingress {
    from_port   = 5432
    to_port     = 5432
    protocol    = "tcp"
    cidr_blocks = var.client_cidrs
  }
}

resource "aws_db_instance" "stack" {
  identifier                = var.bucket
  engine                    = "postgres"
  engine_version            = "15"
  instance_class            = var.database_class
  allocated_storage         = 50
  max_allocated_storage     = 500
  storage_encrypted         = true
  username                  = local.stack.STACK_POSTGRES_USER
  password                  = random_password.stack["POSTGRES_PASSWORD"].result
  db_subnet_group_name      = aws_db_subnet_group.stack.name
  vpc_security_group_ids    = [aws_security_group.database.id]
  backup_retention_period   = 7
  deletion_protection       = true
  final_snapshot_identifier = "${var.bucket}-last"
}

resource "postgresql_database" "stack" {
  for_each = toset(local.databases)
  name     = each.value
}

# Letters and digits need no quoting in URLs.
resource "random_password" "stack" {
  for_each = local.generated
  length   = 48
  special  = false
}

resource "aws_secretsmanager_secret" "stack" {
  name = var.bucket
}

resource "aws_secretsmanager_secret_version" "stack" {
  secret_id     = aws_secretsmanager_secret.stack.id
  secret_string = jsonencode(local.secrets)
}

locals {
  secrets = merge(
    { for name, made in random_password.stack : "STACK_${name}" => made.result },
    {
      STACK_S3_KEY_ID = aws_iam_access_key.stack.id
      STACK_S3_SECRET = aws_iam_access_key.stack.secret
    },
  )
}
