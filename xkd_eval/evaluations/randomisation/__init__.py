"""Parameter randomisation (Adebayo et al., NeurIPS 2018): does a map depend on what the network has learned?"""
