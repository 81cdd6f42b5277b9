"""Faithfulness: does the model's answer fall with what is removed as the map says that it should?"""
