"""What there is in the cluster: watches and lists in, pipelines and SamplyProfiles out; and annotations that ask."""
