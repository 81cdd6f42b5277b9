"""The CAM of any network: searched for behind its pool, and believed only when the logits come out of it again."""
