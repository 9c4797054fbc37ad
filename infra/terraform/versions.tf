terraform {
  required_version = ">= 1.6"
  required_providers {
    aws    = { source = "hashicorp/aws", version = "~> 5.0" }
    random = { source = "hashicorp/random", version = "~> 3.6" }
    postgresql = {
      source  = "cyrilgdn/postgresql"
      version = "~> 1.25"
    }
  }
}

provider "aws" {
  region = local.stack.STACK_S3_REGION
}

# Reaches the database from where Terraform runs: a machine in `client_cidrs`.
provider "postgresql" {
  host      = aws_db_instance.stack.address
  username  = aws_db_instance.stack.username
  password  = random_password.stack["POSTGRES_PASSWORD"].result
  sslmode   = "require"
  superuser = false
}
