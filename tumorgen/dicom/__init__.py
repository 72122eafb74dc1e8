"""CT series in folders of DICOM files: which slices make a volume, and that volume.

The only package that knows DICOM. Compressed slices are decoded in a process of their own, which may crash.
"""
