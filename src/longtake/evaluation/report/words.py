"""What a report says whatever was measured: what the methods are, and the paper's own table."""

from longtake.evaluation.variants import EQUAL_COST, REAL

ABOUT_METHODS = {
    "progressive": "The method of this package (PA-VDM, arXiv 2410.08151). Noise rises along one sliding window; the"
    " oldest frames leave clean, noise enters behind.",
    "replacement": "A whole clip at a time, at one noise level, behind the last clean frames of the clip before (the"
    " paper's RN).",
    "noisy-replacement": "The same, but the clean frames are noised to the clip's own level at every step, so that the"
    " network sees a single level (the paper's RW).",
    "chunk-by-chunk": "Half a clip at a time, from noise to clean, behind the other half.",
    "restart": "A window is denoised progressively to its end, then a new one starts from its last few clean frames (as"
    " long films of SkyReels-V2 do).",
    "fifo": "FIFO-Diffusion (arXiv 2405.11473): every frame of the queue has a level of its own; windows with lookahead"
    " move half of their frames at a time.",
    "full-window": "Progressive, but started from a whole finished clip and ended by throwing one away, instead of with"
    " a window that grows and drains.",
    "no-context": "Progressive, without finished frames at the head of the window.",
    "no-chunks": "Progressive, with every latent frame at a level of its own.",
    REAL: "Renders of the world itself, of other seeds than training's: what each measure says of film"
    " that does not drift.",
    EQUAL_COST: "The same method, with as many steps as make it cost what progressive costs.",
}

PAPER_HEAD = ("", "subject", "background", "smooth", "dynamic", "aesthetic", "imaging", "scenes ↓", "FVD ↓")
PAPER_ROWS = (
    ("PA-M", ".7923", ".8964", ".9896", ".8000", ".4726", ".5927", "1.75", "358.0"),
    ("RW-M", ".8001", ".8851", ".9836", ".3958", ".4123", ".5961", "1.10", "669.7"),
    ("PA-O-base", ".7656", ".8880", ".9859", ".5625", ".4582", ".5033", "2.04", "548.1"),
    ("RN-O-base", ".7406", ".8820", ".9873", ".5750", ".4034", ".4464", "5.19", "600.7"),
    ("StreamingSVD", ".8172", ".8916", ".9929", ".65", ".4264", ".5566", "1.08", "440.3"),
    ("SVD-XT", ".6102", ".8136", ".9724", ".9875", ".3019", ".4814", "2.10", "702.3"),
    ("FIFO-OSP", ".7577", ".8990", ".9731", ".75", "–", ".5675", "18.32", "975.5"),
)
PAPER_NOTE = (
    "Table 1 of Xie et al., arXiv 2410.08151, as printed: other models (M is theirs, O is Open-Sora v1.2) and other"
    " prompts, films of 60 seconds measured by VBench-Long and FVD. PA is progressive, RW replacement with noise, RN"
    " without. No number in it can be compared with one above; the shape can: there, progressive film kept its motion"
    " and its looks where replacement lost them, for a fifth less work."
)
