"""SamplyTriggers: watched, decided on (rules/triggers/), carried out, and told about in their status."""
