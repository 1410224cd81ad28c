"""From LIDC-IDRI to what networks are trained on: annotations, crops, outlines, augmentation."""
