"""Images as voxels with their geometry, boxes of voxels, and all reading and writing of image files.

Headers are looked at before any library sees a file, files are read whole or refused, and written whole or not at all.
Nothing here knows what a liver or a tumour is.
"""
