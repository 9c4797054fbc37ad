"""Generator and discriminator as published (Wang et al. 2022), one file per part."""
