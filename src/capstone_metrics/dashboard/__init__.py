"""The dashboard of the serving database. It connects as `bi_reader` and reads nothing else."""
