"""Images, boxes and the detector. Pure: no database, no HTTP, and nothing here needs torch.

All geometry is in pixels of the upright image (EXIF applied), origin at the top-left corner, y downwards.
"""
