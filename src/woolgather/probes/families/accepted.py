"""What a list may hold: the items that probes are drawn from, and the many more that are right.

The one idea: a pool that is drawn from stays short and plain, and what is accepted is as wide as
people are. A kind of an item is accepted by the check itself ("polar bear"), so only names of one
word, or whose last word says something else ("sea urchin"), need to stand here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from woolgather.probes.families.words import LISTABLE

_BIRDS = """cockatoo budgie budgerigar partridge pheasant grouse peahen emu kiwi ibis egret tern
gull lapwing plover sandpiper snipe curlew oriole wren warbler tit nuthatch treecreeper wagtail lark
skylark cuckoo swift martin kite osprey buzzard kestrel condor harrier cormorant gannet loon grebe
coot moorhen rail bittern spoonbill toucan hornbill macaw lovebird parakeet rook jackdaw bunting
goldfinch bullfinch chaffinch cassowary quail turtledove roadrunner mockingbird chickadee tanager
waxwing whip-poor-will bird birds fowl songbird"""
_FISH = """bass perch pike catfish swordfish anchovy sole flounder piranha barracuda stingray ray
clownfish angelfish seahorse marlin sturgeon tilapia grouper snapper guppy koi fish"""
_INSECTS = """fly cricket locust flea aphid earwig firefly hornet bumblebee honeybee cicada louse
mantis gnat caterpillar bug insect ladybird"""
_ANIMALS = """aardvark aardwolf agouti addax anaconda armadillo anteater barracuda bobcat bonobo boa
bull caracal caribou cattle centipede chameleon chinchilla civet clam cobra colobus coral cub
cuttlefish dugong echidna eland ermine ewe falcon fawn fennec filly foal gaur gnu gopher groundhog
grizzly hound human husky ibex insect jackrabbit jerboa kinkajou kudu krill lamb leech mallard
mammoth manatee mandrill mare markhor marten meerkat millipede mongrel muskrat mussel narwhal numbat
nutria okapi opossum orca oryx pangolin peccary pika pig polecat porpoise possum prawn primate
python quokka quoll ram rattlesnake sable serval sheepdog shellfish shrimp skink slug sow springbok
stag stallion stoat sponge tarantula tarsier tick terrapin terrier viper vicuna wapiti weevil
wildebeest wildcat wolverine wolffish zebu urial poodle labrador beagle bulldog urchin barnacle
rhinoceroses bumblebee animal mammal reptile man ox bullock steer yeti dinosaur velociraptor"""
_FRUITS = """mandarin mulberry mangosteen persimmon dragonfruit dragon-fruit quince elderberry
gooseberry boysenberry clementine satsuma pomelo starfruit jackfruit durian plantain raisin prune
tamarind kumquat loquat honeydew olive rambutan soursop sapodilla redcurrant blackcurrant cloudberry
loganberry huckleberry lingonberry tangelo citron medlar damson greengage ugli acerola ackee
breadfruit longan salak feijoa yuzu nance berry cucumber tayberry sultana"""
_VEGETABLES = """rutabaga swede chard rocket arugula fennel okra chickpea lentil kohlrabi endive
radicchio watercress cress shallot chive ginger chilli chili lettuces marrow gherkin sprout bok-choy
swiss-chard romaine iceberg mangetout cassava taro jicama daikon collard greens soybean edamame
horseradish sauerkraut capsicum scallion rhubarb seaweed maize broad-bean runner-bean"""
_COLOURS = """salmon sapphire ruby emerald jade mint mauve lilac plum rose rust cream copper bronze
brass charcoal khaki ochre umber sienna vermilion fuchsia periwinkle apricot mustard chocolate
coffee caramel cherry claret cobalt azure cerulean chartreuse blonde auburn brunette ebony ecru fawn
flamingo fern ginger honey jet lemon magnolia mahogany moss mulberry oatmeal onyx oyster pearl
pewter pine pumpkin puce raspberry sage sand sepia sky slate strawberry taupe tawny tomato topaz
tangerine titanium vanilla walnut wheat wine zaffre denim eggplant aubergine amethyst rainbow steel
watermelon grape garnet russet celadon viridian buff cyan blush bisque brick"""
_BODY = """thigh lip calf heel shin jaw forehead eyebrow eyelash eyelid nostril throat breast belly
waist buttock bottom navel palm knuckle nail fingernail toenail sole arch spine rib skull kidney
bone muscle blood vein artery temple tooth teeth gum tonsil scalp abdomen torso trunk thorax bladder
intestine bowel pancreas spleen joint limb armpit forearm biceps bicep triceps beard moustache chin
pelvis groin gallbladder windpipe larynx pupil iris retina nape collarbone appendix bum rear bust
femur tibia jawbone lap brow instep backbone esophagus oesophagus uterus cornea"""
_COUNTRIES = """Equatorial-Guinea South-Sudan Solomon-Islands Saint-Lucia Antigua Tanzania
Micronesia Kosovo Palestine Taiwan Central-African-Republic Bosnia-and-Herzegovina Trinidad
Federated-States-of-Micronesia Marshall-Islands Turkiye Burma Swaziland Macedonia Britain
Republic-of-the-Congo Democratic-Republic-of-the-Congo Vatican Northern-Ireland Greenland US U.S.
U.S.A. UAE U.K. Emirates Republic-of-Ireland Korea"""
ALSO: Mapping[str, str] = {
    "fruits": _FRUITS,
    "animals": " ".join((_ANIMALS, _BIRDS, _FISH, _INSECTS)),
    "colours": _COLOURS,
    "countries": _COUNTRIES,
    "vegetables": _VEGETABLES,
    "birds": _BIRDS,
    "body parts": _BODY,
}
"""By topic: what is right as well; a hyphen may be a space."""

_IRREGULAR = {
    "mouse": "mice", "dormouse": "dormice", "louse": "lice", "goose": "geese", "foot": "feet",
    "tooth": "teeth", "ox": "oxen", "man": "men", "woman": "women", "child": "children",
    "sheep": "sheep", "fish": "fish", "deer": "deer", "moose": "moose", "octopus": "octopuses",
    "hippopotamus": "hippopotami", "person": "people", "salmon": "salmon", "trout": "trout",
    "walrus": "walruses", "platypus": "platypuses",
}  # fmt: skip


def plural_of(noun: str) -> str:
    """Returns the plural of an English noun, by the usual rules of spelling and some exceptions."""
    if noun in _IRREGULAR:
        return _IRREGULAR[noun]
    if re.search(r"(?:ol|el|al|ar|ea|oa|ie)f$|(?:^|[^o])ife$", noun):
        return re.sub(r"fe?$", "ves", noun)
    if re.search(r"[^aeiou]y$", noun):
        return noun[:-1] + "ies"
    if re.search(r"(?:s|x|z|ch|sh|[^aeioubn]o)$", noun):
        return noun + "es"
    return noun + "s"


def accepted(topic: str) -> list[str]:
    """Returns every item of a topic in LISTABLE that a plain answer may hold, in one and in many."""
    drawn = LISTABLE[topic]
    more = [form for name in ALSO.get(topic, "").split() for form in _spellings(name)]
    names = list(dict.fromkeys([*drawn, *more]))
    if drawn[0][0].isupper():
        return names
    plurals = [plural_of(name) for name in names] + [f"{name}s" for name in drawn]
    return list(dict.fromkeys([*names, *plurals]))


def _spellings(name: str) -> list[str]:
    return [name, name.replace("-", " ")] if "-" in name else [name]
