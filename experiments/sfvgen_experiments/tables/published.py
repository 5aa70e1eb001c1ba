"""What SlowFast-VGen (arXiv 2410.23277) published, as it stands there: other scenes, other sizes, 64 GPUs."""

VIDEO = {
    "AVDC": ("1408", "16.96", ".526", ".207", "3.13", ".839"),
    "Streaming-T2V": ("990", "14.87", ".483", ".330", ".89", ".910"),
    "AnimateDiff": ("782", "17.89", ".523", ".334", "2.94", ".901"),
    "SEINE": ("919", "18.04", ".542", ".357", "1.03", ".890"),
    "iVideoGPT": ("1303", "13.08", ".314", ".272", "1.32", ".822"),
    "without TEMP-LoRA": ("-", "-", "-", "-", "1.88", ".890"),
    "SlowFast-VGen": ("514", "19.21", ".605", ".251", ".37", ".937"),
}
"""FVD, PSNR, SSIM, LPIPS, scene cuts, SRC"""
PLANNING = {
    "AVDC": (".078", "5.57"),
    "Streaming-T2V": (".022", "2.18"),
    "without TEMP-LoRA": (".080", "6.31"),
    "without the loop": (".055", "2.23"),
    "SlowFast-VGen": (".013", "1.51"),
}
"""Distance to where things belong: robot, navigation"""
COST = {"TEMP-LoRA": ("6.8 %", "3.7 %")}
"""More time and more memory, 50 steps"""
VARIANTS = {
    "original": (".55", ".922"),
    "global": (".36", ".903"),
    "frame": ("1.24", ".900"),
    "without TEMP-LoRA": ("1.88", ".890"),
    "SlowFast-VGen": (".37", ".937"),
}
"""Scene cuts, SRC"""
