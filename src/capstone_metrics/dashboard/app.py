"""The script that Streamlit runs at each visit and each choice of a reader."""

from capstone_metrics.dashboard.site import main

main()
