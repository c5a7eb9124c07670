"""When a SamplyTrigger fires, and if not, why: facts and the time in, a decision out."""
