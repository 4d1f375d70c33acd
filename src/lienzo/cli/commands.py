"""The verbs: where each one's options live, and its line in the help. A new verb is one row."""

COMMANDS: dict[str, tuple[str, str]] = {
    "create": ("lienzo.tasks.create:Create", "Paint a picture for a sentence."),
    "paint": ("lienzo.tasks.paint:Paint", "Paint on a canvas until CLIP sees the sentence in it; pictures and videos."),
    "walk": ("lienzo.tasks.walk:Walk", "Walk from sentence to sentence, or from seed to seed, as a video."),
    "upscale": ("lienzo.tasks.upscale:Upscale", "Enlarge or restore pictures with SwinIR."),
    "show": ("lienzo.tasks.show:Show", "Show the recipe that a picture carries."),
    "reproduce": ("lienzo.tasks.reproduce:Reproduce", "Make a picture again from its recipe and compare."),
    "classify": ("lienzo.tasks.classify:Classify", "Say what pictures show, out of your own labels."),
    "index": ("lienzo.tasks.index:Index", "Index folders of pictures for search."),
    "index status": ("lienzo.tasks.index:IndexStatus", "Show what the picture index holds."),
    "index remove": ("lienzo.tasks.index:RemoveFolder", "Take a folder out of the picture index."),
    "index export": ("lienzo.tasks.index_exchange:ExportIndex", "Write the index in clip-retrieval's layout."),
    "index import": ("lienzo.tasks.index_exchange:ImportIndex", "Read embeddings in clip-retrieval's layout."),
    "search": ("lienzo.tasks.search:Search", "Find pictures by words, pictures, and sums of both."),
    "rank": ("lienzo.tasks.rank:Rank", "Put pictures in order of how well they fit a sentence."),
    "dedupe": ("lienzo.tasks.dedupe:Dedupe", "Find pictures that are the same or nearly so."),
    "probe": ("lienzo.tasks.probe:Probe", "Train a linear classifier on a CLIP's vectors."),
    "explain": ("lienzo.tasks.explain:Explain", "Show where in a picture a CLIP sees a sentence."),
    "evaluate": ("lienzo.tasks.evaluate:Evaluate", "Compare pictures or a model with real pictures: FID and its kin."),
    "card": ("lienzo.tasks.card:MakeCard", "Measure models: quality, coverage and speed, with a plot."),
    "latents": ("lienzo.tasks.latents:Latents", "Draw what an autoencoder has learned."),
    "models list": ("lienzo.tasks.models:ListModels", "List the models that are at hand."),
    "models show": ("lienzo.tasks.models:ShowModel", "Show a model's card, or what a weight file holds."),
    "models convert": ("lienzo.tasks.models:ConvertModel", "Turn any known checkpoint into one safe file."),
    "models verify": ("lienzo.tasks.models:VerifyModels", "Check that model files are whole and unchanged."),
    "data build art": ("lienzo.tasks.data_build:BuildArt", "Build the captioned art corpus from public packages."),
    "data build paintings": (
        "lienzo.tasks.data_paintings:BuildPaintings",
        "Write thirty paintings with captions, to try training on.",
    ),
    "data pack": ("lienzo.tasks.data_pack:PackCorpus", "Pack a corpus small enough to carry to another machine."),
    "train diffusion": (
        "lienzo.tasks.train.diffusion:TrainDiffusion",
        "Train or fine-tune a diffusion model.",
    ),
    "train painter": ("lienzo.tasks.train.painter:TrainPainter", "Train or fine-tune a painter that reads sentences."),
    "train classes": ("lienzo.tasks.train.classes:TrainClasses", "Train a small diffusion model of picture classes."),
    "train classifier": ("lienzo.tasks.train.classifier:TrainClassifier", "Train a classifier of noisy pictures."),
    "train clip": ("lienzo.tasks.train.clip:TrainClip", "Train or fine-tune a CLIP on captioned pictures."),
    "train vae": ("lienzo.tasks.train.vae:TrainVae", "Train an autoencoder of the VAE family."),
    "train autoencoder": (
        "lienzo.tasks.train.autoencoder:TrainAutoencoder",
        "Train a VQGAN or KL autoencoder, the space of latent diffusion.",
    ),
    "train latent": ("lienzo.tasks.train.latent:TrainLatent", "Train a diffusion model in an autoencoder's latents."),
    "train upscaler": ("lienzo.tasks.train.upscaler:TrainUpscaler", "Train SwinIR to enlarge or restore pictures."),
    "train bundled": ("lienzo.tasks.train_bundled:TrainBundled", "Train the models that ship with Lienzo."),
}


def split_command(arguments: list[str]) -> tuple[str | None, list[str]]:
    """The verb that the arguments begin with (longest match) and the rest; None when there is none."""
    for words in range(min(3, len(arguments)), 0, -1):
        name = " ".join(arguments[:words])
        if name in COMMANDS:
            return name, arguments[words:]
    return None, arguments


def close_to(word: str) -> list[str]:
    """Verbs that begin with `word` or resemble it."""
    import difflib

    starting = [name for name in COMMANDS if name.split()[0] == word]
    return starting or difflib.get_close_matches(word, COMMANDS, n=1)
