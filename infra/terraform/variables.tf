variable "bucket" {
  description = "Name of the bucket; names are shared by all of Amazon's customers. Set STACK_S3_BUCKET to it."
  type        = string
}

variable "vpc_id" {
  description = "Network of the Kubernetes cluster."
  type        = string
}

variable "subnet_ids" {
  description = "Private subnets of that network, in two zones at least."
  type        = list(string)
}

variable "client_cidrs" {
  description = "Addresses that reach the database: the cluster's nodes, and the machine that runs Terraform."
  type        = list(string)
}

variable "database_class" {
  description = "Size of the database's machine."
  type        = string
  default     = "db.t4g.medium"
}
