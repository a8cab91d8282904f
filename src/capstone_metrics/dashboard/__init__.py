"""The page of the serving database. It reads as `bi_reader`, and knows nothing else of ours."""
