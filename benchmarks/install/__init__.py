"""What `pip install falconet` alone takes: a download, a disk, and the time of an import."""
