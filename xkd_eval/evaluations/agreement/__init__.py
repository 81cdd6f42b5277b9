"""Do two models' maps of one image look at the same place?"""
