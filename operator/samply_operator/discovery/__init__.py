"""Discovery: from watches and lists to pipelines, SamplyProfiles and trigger annotations."""
