"""Families that ask what everybody knows of things, and want a word for an answer."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from woolgather.probes.families.shared import Draft, a_, ask, family, number_is, pick
from woolgather.probes.families.words import KINDS, pairs, split_words

_COLOURS = pairs(
    """grass=green; fresh spinach=green; a lettuce=green; a cucumber=green; a pea=green;
    an emerald=green; a lime=green; a clover leaf=green; snow=white; milk=white; salt=white;
    flour=white; chalk=white; a polar bear=white; cotton=white; cooked rice=white; a swan=white;
    coal=black; a raven=black; tar=black; a crow=black; soot=black; a panther=black; blood=red;
    a ripe tomato=red; a strawberry=red; a ruby=red; ketchup=red; a raspberry=red;
    a stop sign=red; a ripe banana=yellow; a lemon=yellow; a sunflower=yellow; a canary=yellow;
    an egg yolk=yellow; a buttercup=yellow; a newly hatched chick=yellow; a carrot=orange;
    a pumpkin=orange; a tangerine=orange; a basketball=orange; chocolate=brown;
    a coffee bean=brown; soil=brown; a hazelnut=brown; cinnamon=brown; a chestnut=brown;
    an elephant=grey|gray; ash=grey|gray; a rhinoceros=grey|gray; cement=grey|gray;
    the clear sky at noon=blue; a sapphire=blue; a pair of jeans=blue; a flamingo=pink;
    a pig=pink; an aubergine=purple|violet; lavender=purple|violet"""
)
"""Things whose usual colour is beyond doubt."""


@family
def colour_of(rng: random.Random) -> Draft:
    thing = rng.choice(list(_COLOURS))
    wordings = (
        "What colour is {x}, as a rule?",
        "Name the usual colour of {x}.",
        "Which colour does {x} have? Answer with one word.",
        "Give the colour that this thing most often has.",
    )
    right = _COLOURS[thing]
    wrong = sorted({other[0] for other in _COLOURS.values()} - set(right))
    return *ask(rng, wordings, thing), pick(right, wrong, 20), right[0]


_WORKERS = pairs(
    """bakes bread=baker; teaches children at school=teacher; puts out fires=firefighter|fireman;
    cuts and styles hair=hairdresser|barber|hairstylist|stylist; flies a plane=pilot;
    repairs teeth=dentist; grows crops=farmer; catches fish=fisherman|fisher; sells meat=butcher;
    designs houses=architect; lays bricks=bricklayer|mason; mends water pipes=plumber;
    installs electric cables=electrician; makes furniture out of wood=carpenter|joiner;
    delivers letters=postman|mailman|postwoman|mail carrier|letter carrier;
    treats sick animals=vet|veterinarian; looks after patients in a hospital=nurse|doctor;
    performs operations=surgeon; writes novels=writer|author|novelist;
    paints pictures=painter|artist; plays the piano=pianist; plays the violin=violinist;
    plays the drums=drummer; sings songs=singer; drives a taxi=taxi driver|driver|cabbie;
    steers a ship=captain|helmsman|sailor; defends people in court=lawyer|attorney|barrister;
    decides cases in court=judge; arrests thieves=policeman|police officer|police|officer;
    takes photographs=photographer; cooks in a restaurant=cook|chef;
    serves food in a restaurant=waiter|waitress|server; lends out books=librarian;
    sews clothes=tailor|seamstress|dressmaker; repairs cars=mechanic; digs for coal=miner;
    looks after sheep=shepherd; looks after a garden=gardener; plays roles in films=actor|actress;
    dances on a stage=dancer|ballerina; studies the stars=astronomer;
    travels into space=astronaut|cosmonaut; sells flowers=florist; makes shoes=shoemaker|cobbler;
    makes clocks=clockmaker|watchmaker; translates books=translator; writes poems=poet;
    shoes horses=farrier|blacksmith; cleans chimneys=chimney sweep|sweep; keeps bees=beekeeper;
    makes people laugh in a circus=clown; does magic tricks=magician;
    reports the news=journalist|reporter"""
)
"""Work, with the names of those who do it for a living."""


@family
def who_does(rng: random.Random) -> Draft:
    work = rng.choice(list(_WORKERS))
    wordings = (
        "Who {x}? Name the profession.",
        "What do we call a person who {x} for a living?",
        "Give the name of the job: someone who {x}.",
        "Which profession is this? This person {x}.",
    )
    right = _WORKERS[work]
    return *ask(rng, wordings, work), pick(right, max_words=20), right[0]


_MEANS = pairs(
    """cut paper=scissors; drive in a nail=hammer; eat soup=spoon; write on a blackboard=chalk;
    unlock a door=key; dry yourself after a bath=towel; brush your teeth=toothbrush;
    untangle your hair=comb|brush|hairbrush; watch distant stars=telescope|binoculars;
    look at tiny things=microscope|magnifying glass; measure temperature=thermometer;
    tell the time=clock|watch; keep the rain off while walking=umbrella; sweep the floor=broom;
    dig a hole=shovel|spade; cut a plank in two=saw; tighten a screw=screwdriver;
    sew on a button=needle; light a candle=match|matches|lighter; boil water for tea=kettle;
    toast bread=toaster; keep food cold=fridge|refrigerator; wash clothes=washing machine;
    smooth a creased shirt=iron|steamer; take a photograph=camera;
    call a friend who is far away=phone|telephone|mobile|cell phone; find the north=compass;
    climb up to a roof=ladder; carry water from a well=bucket|pail;
    catch fish=net|rod|fishing rod|hook; paint a wall=brush|paintbrush|roller;
    erase pencil marks=eraser|rubber; sharpen a pencil=sharpener|pencil sharpener|knife;
    draw a straight line=ruler; open a bottle of wine=corkscrew;
    open a tin of beans=can opener|tin opener; grate cheese=grater; peel potatoes=peeler|knife;
    weigh flour=scale|scales; chop down a tree=axe|saw|chainsaw;
    gather fallen leaves=rake|broom|blower|leaf blower; mow the lawn=mower|lawnmower|lawn mower;
    cool a room in summer=fan|air conditioner; sleep in when camping=tent|sleeping bag;
    row a boat=oar|oars|paddle; hear the heart of a patient=stethoscope;
    add up numbers quickly=calculator|computer; blow dry your hair=hairdryer|hair dryer|dryer;
    carry your things on your back=backpack|rucksack; protect your eyes from the sun=sunglasses;
    fasten papers together=stapler|paper clip|clip|staple; fill a flat tyre with air=pump|compressor"""
)
"""Ends, with the things that serve them."""


@family
def used_for(rng: random.Random) -> Draft:
    end = rng.choice(list(_MEANS))
    wordings = (
        "What do people use to {x}?",
        "Name a thing with which one can {x}.",
        "I want to {x}. Which object do I need?",
        "Give the name of something that helps you to {x}.",
    )
    right = sorted({form for one in _MEANS[end] for form in (one, one.removesuffix("s") + "s")})
    return *ask(rng, wordings, end), pick(right, max_words=20), _MEANS[end][0]


_LEGS: Mapping[int, Sequence[str]] = {
    2: KINDS["bird"],
    4: split_words(
        "dog cat horse cow pig sheep goat lion tiger bear wolf fox rabbit elephant giraffe zebra camel "
        "deer squirrel hedgehog badger donkey hamster buffalo crocodile lizard tortoise frog"
    ),
    6: KINDS["insect"],
    8: ["spider", "scorpion"],
}


@family
def leg_count(rng: random.Random) -> Draft:
    legs = rng.choice((2, 2, 4, 4, 4, 6, 6, 8))
    wordings = (
        "How many legs does {a} have?",
        "Count the legs of {a} and give the number.",
        "Give the number of legs that {a} has.",
        "On how many legs does {a} stand?",
    )
    return *ask(rng, wordings, a=a_(rng.choice(_LEGS[legs]))), number_is(legs), str(legs)


_WARMTH = pairs(
    """fire=hot; lava=hot; boiling water=hot; steam from a kettle=hot; a burning candle=hot;
    a lit oven=hot; a sauna=hot; the Sun=hot; a glowing coal=hot; molten iron=hot;
    a desert at noon=hot; bread fresh from the oven=hot; a campfire=hot;
    the tip of a lit match=hot; a burning log=hot; a working toaster=hot;
    freshly brewed coffee=hot; a pan on the stove=hot; the inside of a volcano=hot;
    a barbecue grill in use=hot; melted wax=hot; a bowl of fresh soup=hot; a working iron=hot;
    a day in July in the Sahara=hot; a pizza straight from the oven=hot; a furnace=hot; ice=cold;
    snow=cold; an icicle=cold; a glacier=cold; an iceberg=cold; ice cream=cold; a freezer=cold;
    a snowman=cold; hail=cold; a blizzard=cold; frost=cold; the North Pole=cold;
    the South Pole=cold; an igloo=cold; a snowball=cold; an ice cube=cold; a frozen lake=cold;
    sleet=cold; a frozen pea=cold; the top of a high snowy mountain=cold;
    a winter night in Siberia=cold; an ice rink=cold; the inside of a refrigerator=cold;
    Antarctica=cold; a popsicle=cold; liquid nitrogen=cold"""
)


@family
def hot_or_cold(rng: random.Random) -> Draft:
    thing = rng.choice(list(_WARMTH))
    wordings = (
        "Hot or cold: how is {x}?",
        "Is this hot or cold? {x}",
        "Say of {x} whether it is hot or cold.",
        "Decide between hot and cold. Answer with one word.",
    )
    right = _WARMTH[thing][0]
    return (
        *ask(rng, wordings, thing),
        pick([right], [{"hot": "cold", "cold": "hot"}[right]], 20),
        right,
    )


_SOUNDS = [
    split_words(line)
    for line in (
        "cat hat bat rat mat",
        "light night right fight kite",
        "cake lake snake rake",
        "tree bee key sea knee",
        "house mouse blouse",
        "ring king wing string swing",
        "boat coat goat note",
        "moon spoon balloon noon",
        "car star jar guitar",
        "rain train chain plane",
        "bed red bread head",
        "dog fog frog log",
        "bell shell smell well",
        "ball wall tall call",
        "sand hand band land",
        "clock rock sock lock",
        "book cook hook look",
        "nose rose toes hose",
        "pen hen ten men",
        "fish dish wish",
    )
]


@family
def rhyme(rng: random.Random) -> Draft:
    alike, *others = rng.sample(_SOUNDS, 3)
    word, right = rng.sample(alike, 2)
    wrong = [rng.choice(other) for other in others]
    wordings = (
        'Which of these words rhymes with "{w}": {x}?',
        'Find the word that sounds like "{w}" at the end.',
        'Choose a rhyme for "{w}" from the list.',
    )
    options = ", ".join(rng.sample([right, *wrong], 3))
    return *ask(rng, wordings, options, w=word), pick([right], wrong, 20), right
