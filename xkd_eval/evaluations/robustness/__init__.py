"""Max- and average-sensitivity (Yeh et al., NeurIPS 2019): how far does noise move a map?"""
