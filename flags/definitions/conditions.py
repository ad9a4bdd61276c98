"""When flags act, by the values of others, see `Facts.when`."""

from flags import places


def reads_data(settings):
    """Images of one's own take the place of the data set."""
    return settings["dataset"] is not None and not settings["images"]


def reads_folder(settings):
    return reads_data(settings) and settings["dataset"] not in places.NAMED


def is_downloaded(settings):
    return reads_data(settings) and settings["dataset"] in places.DOWNLOADED


def has_a_size(settings):
    """Images of one's own, and pictures larger than they need be, are given one."""
    is_texture = settings["dataset"] in places.TEXTURES
    own = reads_folder(settings) or reads_data(settings) and is_texture
    return own or settings["mode"] in ("sample", "show")


def reads_files(settings):
    return bool(settings["images"]) or reads_folder(settings)


def evaluates(settings):
    return settings["mode"] == "evaluate" or settings["evaluate_every"] is not None


def sees_features(settings):
    return settings["mode"] == "recover" or evaluates(settings)


def hides_in_training(settings):
    """A recovery does so by --mask=training alone."""
    return settings["mode"] != "recover" or settings["mask"] == "training"


def infers(settings):
    """An interpolation does so between images alone."""
    return settings["mode"] != "interpolate" or settings["images"] is not None


def chains_persist(settings):
    return settings["chain_init"] == "persistent"


def follows_schedule(settings):
    return settings["learning_rate_schedule"] != "constant"


def is_guarded(settings):
    return settings["guard"]


def guards_revision(settings):
    return settings["guard"] and settings["algorithm"] != "generator"


def goes_to_hub(settings):
    return settings["export_format"] == "hub"


def has_card(settings):
    return settings["export_format"] in ("hub", "run")
