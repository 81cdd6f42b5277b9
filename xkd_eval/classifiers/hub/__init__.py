"""The Hugging Face hub: repositories of timm's and transformers' classifiers, and folders of the same layout."""
