"""The edges of the flow: source → Bronze → Silver → Gold → serving."""
