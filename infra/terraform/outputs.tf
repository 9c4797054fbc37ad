output "database_address" {
  description = "The externalName of the Service `postgres` in infra/kubernetes/base/addresses.yaml."
  value       = aws_db_instance.stack.address
}

output "secret_name" {
  description = "The secret whose values infra/kubernetes reads; docs/pages/deploying.md shows how it gets them."
  value       = aws_secretsmanager_secret.stack.name
}
